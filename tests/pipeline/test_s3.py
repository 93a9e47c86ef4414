"""The chain from and to an S3 server, on both engines."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support import s3
from tests.support.chain import descendants, manifest_here, manifest_of, start_verger, verger, wait_until_gone
from tests.support.networks import save_tiny_onnx
from verger.storage.cache import cache_dir
from verger.storage.objects.stores import store_of
from verger.storage.table_files import parquet_files
from verger.storage.uri import AnyPath, any_path

N_PHOTOS = 3_000


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    with s3.serving() as endpoint:
        yield endpoint
    store_of.cache_clear()


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Three thousand small photos in ten folders, one of them broken, in the store and on disk."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(N_PHOTOS):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8).repeat(2, 0).repeat(2, 1)
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "PNG")
            content = file.getvalue() if i != 77 else b"\x89PNG\r\n\x1a\nbroken"
        path = folder / f"fruit {i % 10}" / f"{i:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    s3.put_tree(folder, "many")
    return f"s3a://{s3.BUCKET}/many", folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.onnx"
    save_tiny_onnx(path)
    return path


def table(folder: AnyPath) -> pa.Table:
    """Return a table sorted by the photos' folders and names, less where these lie."""
    tables = []
    for file in parquet_files(folder):
        with file.open("rb") as opened:
            tables.append(pq.read_table(opened))
    joined = pa.concat_tables(tables)
    names = pa.array(["/".join(path.split("/")[-2:]) for path in joined["path"].to_pylist()])
    return joined.set_column(0, "path", names).sort_by("path")


def check_same_tables(out: str, here: Path) -> None:
    for name in ("features", "rejected", "components"):
        assert table(any_path(out) / name).equals(table(here / name)), name


def check_no_leftovers(prefix: str) -> None:
    """Neither a staging folder is left, nor an object that stands for a folder."""
    assert [key for key in s3.keys(prefix) if "staging" in key or key.endswith("/")] == []


@pytest.mark.parametrize("engine", ["local", pytest.param("spark", marks=pytest.mark.slow)])
def test_from_and_to_the_store_it_is_as_on_disk(engine: str, photos: Path, tiny: Path, tmp_path: Path) -> None:
    def run_there(*words: object) -> dict[str, Any]:
        """On Spark in a process of its own: workers of one that runs would not know where the store is."""
        if engine == "local":
            return manifest_here(*words, cwd=tmp_path)
        return manifest_of(*words, "--engine", engine, cwd=tmp_path)

    s3.put_tree(photos, f"few/{engine}")
    src, out = (f"s3://{s3.BUCKET}/{folder}/{engine}" for folder in ("few", "out"))
    flags = ("--model", tiny, "--components", "2", "--export", "csv")
    there = run_there("run", src, out, *flags)
    here = manifest_here("run", photos, tmp_path / "out", *flags, cwd=tmp_path)
    assert there["counts"] == here["counts"] and here["counts"]["rejected"] == 3
    assert there["parity"]["min_cosine"] > 0.9999
    check_same_tables(out, tmp_path / "out")

    s3.put(f"few/{engine}/apple/new.png", (photos / "pear" / "1.png").read_bytes())
    again = run_there("run", src, out, *flags, "--resume")["counts"]
    assert (again["computed"], again["features"]) == (0, 13), "it has the content of another"
    reduced = run_there("reduce", out, f"{out}-reduced", "--components", "2")
    assert reduced["reduction"]["n_samples"] == 13
    check_no_leftovers("out")


@pytest.mark.slow
def test_thousands_of_photos_go_through_the_store_as_through_a_folder(
    many_photos: tuple[str, Path], tiny: Path, tmp_path: Path
) -> None:
    remote, local = many_photos
    out = f"s3a://{s3.BUCKET}/results/out"
    flags = ("--model", tiny, "--components", "2", "--export", "csv,json", "--single-file")
    told = manifest_of("run", remote, out, *flags, "--engine", "spark", cwd=tmp_path)
    assert told["counts"]["features"] == N_PHOTOS - 1
    assert told["counts"]["rejected_by_reason"] == {"truncated": 1}
    assert told["parity"]["min_cosine"] > 0.9999

    here = manifest_of("run", local, tmp_path / "out", *flags, cwd=tmp_path)
    assert here["counts"] == told["counts"]
    check_same_tables(out, tmp_path / "out")
    rows = [json.loads(line) for line in (any_path(out) / "components.json").read_text().splitlines()]
    assert len(rows) == N_PHOTOS - 1 and {row["label"] for row in rows} == {f"fruit {i}" for i in range(10)}

    again = verger("run", remote, out, *flags, cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    check_no_leftovers("results/")
    logs = "".join(log.read_text(errors="replace") for log in (cache_dir() / "logs").glob("*.log"))
    assert s3.SECRET not in logs + again.stdout + again.stderr + json.dumps(told)


def test_packed_photos_of_a_store_give_what_loose_ones_give(photos: Path, tiny: Path, tmp_path: Path) -> None:
    s3.put_tree(photos, "loose")
    loose, packed = f"s3a://{s3.BUCKET}/loose", f"s3a://{s3.BUCKET}/packed"
    told = manifest_here("pack", loose, packed, cwd=tmp_path)
    assert told["counts"]["shards"] == 1
    for src, out in ((packed, "a"), (loose, "b")):
        manifest_here("features", src, tmp_path / out, "--model", tiny, cwd=tmp_path)
    for name in ("features", "rejected"):
        assert table(tmp_path / "a" / name).equals(table(tmp_path / "b" / name))


def test_a_run_that_fails_leaves_nothing_in_the_store(photos: Path, tmp_path: Path) -> None:
    s3.put_tree(photos, "good")
    out = f"s3a://{s3.BUCKET}/failed/out"
    (tmp_path / "no.onnx").write_bytes(b"no network")
    done = verger("run", f"s3a://{s3.BUCKET}/good", out, "--model", tmp_path / "no.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert s3.keys("failed/") == []


@pytest.mark.slow
def test_a_killed_run_is_resumed_and_a_grown_bucket_taken_in(
    many_photos: tuple[str, Path], tiny: Path, tmp_path: Path
) -> None:
    remote, local = f"{many_photos[0]}/fruit 3", many_photos[1] / "fruit 3"
    out = f"s3a://{s3.BUCKET}/resumed/out"
    flags = ("--model", tiny, "--components", "2", "--no-report")
    run = start_verger("run", remote, out, *flags, cwd=tmp_path)
    while not any("/features/" in key for key in s3.keys("resumed/")):
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    below = descendants(run.pid)
    run.kill()
    run.communicate(timeout=60)
    assert wait_until_gone(below, 15) == []

    counts = manifest_of("run", remote, out, *flags, "--resume", cwd=tmp_path)["counts"]
    assert counts["reused"] > 0 and counts["computed"] + counts["reused"] == counts["features"]
    manifest_of("run", local, tmp_path / "out", *flags, cwd=tmp_path)
    check_same_tables(out, tmp_path / "out")
    check_no_leftovers("resumed/")

    pixels = np.full((8, 8, 3), 77, np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        s3.put("many/fruit 3/new.png", file.getvalue())
    again = manifest_of("run", remote, out, *flags, "--resume", cwd=tmp_path)["counts"]
    assert (again["computed"], again["reused"]) == (1, counts["features"])
