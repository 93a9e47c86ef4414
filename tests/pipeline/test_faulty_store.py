"""A run through an object store in trouble ends with the tables of a run without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.test_s3 import table
from tests.support import s3
from tests.support.chain import manifest_here, manifest_of, multiplied
from tests.support.events import ENGINES
from tests.support.faulty import CUT, ERRORS, STALL, Faulty
from verger.storage.objects import object_path, pages
from verger.storage.objects.stores import store_of
from verger.storage.uri import any_path


@pytest.fixture
def faulty(request: pytest.FixtureRequest) -> Iterator[Faulty]:
    before: list[Faulty] = []

    def around(app: Any) -> Faulty:
        before.append(Faulty(app, seed=2026, **request.param))
        return before[0]

    with s3.serving(around):
        yield before[0]
    store_of.cache_clear()


@pytest.mark.parametrize("faulty", [{"share": 0.5}], indirect=True)
def test_lists_and_objects_are_whole_where_answers_break_off(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 7)
    place = object_path(f"s3a://{s3.BUCKET}/many")
    assert place is not None
    for i in range(60):
        s3.put(f"many/{i:02d}", b"%d" % i * 1000)
    s3.put("many/sub/", b"")
    s3.put("many/sub/x", b"")
    for _ in range(3):
        assert [found.key for found in place.walk()] == [f"many/{i:02d}" for i in range(60)] + ["many/sub/x"]
        files, folders = place.children()
        assert len(files) == 60 and folders == [place / "sub"]
    for i in range(60):
        assert (place / f"{i:02d}").read_bytes() == b"%d" % i * 1000
    assert faulty.met[CUT] > 10


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize(
    "faulty", [{"share": 0.07, "stalling": ("photos/kiwi/0005", "features/part")}], indirect=True
)
def test_a_run_through_a_faulty_store_gives_what_an_undisturbed_one_gives(
    engine: str, faulty: Faulty, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    few = multiplied(photos, tmp_path / "few", 32)
    s3.put_tree(few, "photos")
    src, out = f"s3a://{s3.BUCKET}/photos", f"s3a://{s3.BUCKET}/results/out"
    words = ("--model", tiny_model, "--components", 2, "--no-report")
    found = manifest_of("run", src, out, *words, *ENGINES[engine], cwd=tmp_path)
    assert min(faulty.met[fault] for fault in (*ERRORS, CUT)) > 0 and faulty.met[STALL] == 2, faulty.met
    here = manifest_here("run", few, tmp_path / "out", *words, cwd=tmp_path)
    assert found["counts"] == here["counts"]
    for name in ("features", "rejected", "components"):
        assert table(any_path(out) / name).equals(table(tmp_path / "out" / name)), name
    assert [key for key in s3.keys("results/") if "staging" in key] == []
