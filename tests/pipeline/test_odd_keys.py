"""Runs on an S3 bucket with keys that file systems and object_store do not allow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support import s3
from tests.support.chain import manifest_of, verger
from tests.support.photos import encode, paint
from verger.errors import DecodeError, StorageError
from verger.sources.content import read_photo
from verger.sources.walk import Skipped, walk_source
from verger.storage.objects import pages
from verger.storage.uri import any_path
from verger.tasks import thumbnails

BUCKET = f"s3a://{s3.BUCKET}"
GOOD = ("p/1.jpg", "p/a%20b.jpg", "p/a b.jpg", "p/a*b.jpg", "p/Zo\u00eb.jpg", "p/c:d.jpg", "p[1]/5.jpg")
BAD = ("p/a//2.jpg", "p/a/./3.jpg", "p/a/../4.jpg", "//x.jpg", "p/new\nline.jpg")


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    with s3.serving() as endpoint:
        for number, key in enumerate((*GOOD, *BAD, "p1/6.jpg", "p/notes.txt", "p/__MACOSX/7.jpg")):
            s3.put(key, encode(paint(12 + number, 10), "JPEG"))
        yield endpoint


def paths(src: str, skipped: Skipped | None = None) -> list[str]:
    entries = walk_source(src, ("*.jpg",), skipped or Skipped())
    return [entry.path.removeprefix(f"{BUCKET}/") for entry in entries]


@pytest.mark.parametrize("src", [BUCKET, f"{BUCKET}/", f"{BUCKET}/**", BUCKET.replace("s3a", "s3")])
def test_a_whole_bucket_is_a_source(src: str) -> None:
    skipped = Skipped()
    assert paths(src, skipped) == sorted([*GOOD, *BAD, "p1/6.jpg"])
    assert skipped.counts() == {".txt": 1, "hidden": 1}


def test_a_prefix_that_exists_is_no_glob() -> None:
    for src in ("p[1]", "p[1]/", "p[1]/*.jpg", "p[1]/5.jpg"):
        assert paths(f"{BUCKET}/{src}") == ["p[1]/5.jpg"]
    assert paths(f"{BUCKET}/p[12]") == ["p1/6.jpg"]
    assert set(paths(f"{BUCKET}/p/a*b.jpg")) == {"p/a*b.jpg"}
    assert set(paths(f"{BUCKET}/p/a[ %]*b.jpg")) == {"p/a b.jpg", "p/a%20b.jpg"}


@pytest.mark.parametrize("key", BAD)
def test_an_object_whose_key_cannot_be_used_is_unreadable_and_no_other_is_read(key: str) -> None:
    s3.put("x.jpg", b"another object")
    try:
        with pytest.raises(DecodeError, match="rename the object"):
            read_photo(f"{BUCKET}/{key}")
        assert thumbnails._size(f"{BUCKET}/{key}") is None
    finally:
        s3.remove("x.jpg")


def test_a_slash_too_many_does_not_hide_that_out_is_the_source(tmp_path: Path, tiny_model: str) -> None:
    manifest_of("pack", f"{BUCKET}/p1", f"{BUCKET}/shards", cwd=tmp_path)
    before = s3.keys("shards/")
    flags = (f"{BUCKET}/shards", "--overwrite", "--model", tiny_model, "--no-report")
    try:
        for src in ("s3://orchard//shards", "s3://orchard///shards/", "s3://orchard/shards//"):
            done = verger("run", src, *flags, cwd=tmp_path)
            assert done.returncode != 0 and "would replace the source" in done.stderr
            assert s3.keys("shards/") == before
    finally:
        for key in s3.keys("shards/"):
            s3.remove(key)


def test_an_unusable_key_after_the_mark_of_a_folder_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store sorts the mark d/2024/ after d/2024-05/1.jpg; obstore returns d/2024. The first page ends there."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    monkeypatch.setattr(pages, "PAGE", 3)
    monkeypatch.setattr(pages, "_pages", partial(pages._pages, size=3))
    keys = ("d/2024-05/1.jpg", "d/2024.zip/1.jpg", "d/2024/", "d/z//bad.jpg", "d/z/2.jpg")
    for key in keys:
        s3.put(key, b"" if key.endswith("/") else b"a photo")
    try:
        assert paths(f"{BUCKET}/d") == [key for key in keys if not key.endswith("/")]
    finally:
        for key in keys:
            s3.remove(key)


def test_a_source_with_an_empty_part_is_an_error_of_the_store() -> None:
    with pytest.raises(StorageError, match="orchard/f//x: "):
        paths(f"{BUCKET}/f//x")


@pytest.mark.parametrize("engine", ["local", pytest.param("spark", marks=pytest.mark.slow)])
def test_a_run_rejects_what_it_cannot_read_and_does_the_rest(tmp_path: Path, tiny_model: str, engine: str) -> None:
    words = ("run", BUCKET, "out", "--model", tiny_model, "--no-report", "--engine", engine)
    manifest = manifest_of(*words, cwd=tmp_path)  # a process of its own: its workers find the store
    assert manifest["counts"]["listed"] == len(GOOD) + len(BAD) + 1
    assert manifest["counts"]["rejected_by_reason"] == {"unreadable": len(BAD)}
    rejected = pq.read_table(tmp_path / "out" / "rejected").to_pylist()
    assert {row["path"].removeprefix(f"{BUCKET}/") for row in rejected} == set(BAD)


def test_a_folder_with_unusable_keys_is_not_empty() -> None:
    assert any_path(f"{BUCKET}/p/a").is_dir()
    assert not any_path(f"{BUCKET}/q").is_dir()
