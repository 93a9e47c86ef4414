"""Results brought home from a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import s3
from verger.cloud.deploy.transfer import fetch_tree
from verger.errors import CloudError
from verger.storage.objects import ObjectPath
from verger.storage.objects.stores import store_of

RESULT = ObjectPath(f"s3a://{s3.BUCKET}", "results/out")


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    with s3.serving() as endpoint:
        yield endpoint
    store_of.cache_clear()


@pytest.fixture(autouse=True)
def result() -> None:
    RESULT.parent.remove_tree()
    for name in ("manifest.json", "features/a.parquet", "features/b.parquet", "empty"):
        s3.put(f"results/out/{name}", b"" if name == "empty" else name.encode())
    s3.put("results/out2/other", b"not of this result")


def fetched(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in fetched_names(folder)}


def fetched_names(folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file()]


def parquet() -> bytes:
    """Return a table of one row."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"path": ["a.jpg"]}), sink)
    return bytes(sink.getvalue())


def test_a_result_comes_whole_and_the_second_time_only_what_has_changed(tmp_path: Path) -> None:
    said: list[str] = []
    fetch_tree(RESULT, tmp_path / "out", said.append)
    assert fetched(tmp_path / "out") == {
        "manifest.json": "manifest.json",
        "features/a.parquet": "features/a.parquet",
        "features/b.parquet": "features/b.parquet",
        "empty": "",
    }
    assert said[0] == "fetching 4 files, 0.0 MB" and said[-1] == "4 of 4 files"

    (tmp_path / "out" / "manifest.json").write_text("of other content")
    kept = (tmp_path / "out" / "features" / "a.parquet").stat()
    said.clear()
    fetch_tree(RESULT, tmp_path / "out", said.append)
    assert said[:2] == ["3 of 4 files were downloaded before", "fetching 1 files, 0.0 MB"]
    assert (tmp_path / "out" / "manifest.json").read_text() == "manifest.json"
    assert (tmp_path / "out" / "features" / "a.parquet").stat().st_ino == kept.st_ino

    said.clear()
    fetch_tree(RESULT, tmp_path / "out", said.append)
    assert said == ["4 of 4 files were downloaded before"]


def test_one_of_the_same_size_and_another_time_is_fetched_again(tmp_path: Path) -> None:
    fetch_tree(RESULT, tmp_path, lambda line: None)
    file = tmp_path / "manifest.json"
    file.write_text("manifest.jsoN")
    os.utime(file, (0, 0))
    fetch_tree(RESULT, tmp_path, lambda line: None)
    assert file.read_text() == "manifest.json"


def test_files_of_another_result_would_be_read_as_a_part_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "old.parquet").touch()
    with pytest.raises(CloudError, match=r"features/old\.parquet"):
        fetch_tree(RESULT, tmp_path, lambda line: None)
    assert fetched(tmp_path) == {"features/old.parquet": ""}


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="is empty"):
        fetch_tree(RESULT.with_name("none"), tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_what_was_not_begun(tmp_path: Path) -> None:
    for number in range(196):
        s3.put(f"results/out/features/{number}.parquet", b"photos")

    def interrupt(line: str) -> None:
        if line.startswith("20 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_tree(RESULT, tmp_path, interrupt)
    here = fetched(tmp_path)
    assert 20 <= len(here) < 100 and "manifest.json" not in here
    assert all(name == "empty" or name.endswith(".parquet") for name in here), "nothing half is left"


def test_without_a_manifest_it_is_half_a_result_and_the_bucket_may_hold_the_only_whole_one(tmp_path: Path) -> None:
    (RESULT / "manifest.json").unlink()
    with pytest.raises(CloudError, match=r"out is not a complete result: it has no manifest\.json.*cloud status"):
        fetch_tree(RESULT, tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())


def test_what_a_kill_leaves_is_no_part_of_a_table_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        s3.put(f"results/out/features/{name}.parquet", parquet())

    def die(*_: object) -> None:
        raise SystemExit  # after which nothing is tidied up, as by kill -9

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            fetch_tree(RESULT, tmp_path, lambda line: None)
    left = list((tmp_path / "features").iterdir())
    (tmp_path / "features" / "b.parquet").write_bytes(parquet())
    assert left and pq.read_table(tmp_path / "features").num_rows == 1

    (RESULT / "features" / "a.parquet").unlink()  # no fetch writes over what was left of it
    fetch_tree(RESULT, tmp_path, lambda line: None)
    assert sorted(fetched_names(tmp_path)) == ["empty", "features/b.parquet", "manifest.json"]
