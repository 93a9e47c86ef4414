"""The chain from and to an S3 server, through Spark's own connector."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests import s3
from tests.chain import descendants, manifest_of, start_verger, verger, wait_until_gone
from tests.networks import save_tiny_onnx
from verger.objects.stores import store_of
from verger.places import cache_dir
from verger.uri import AnyPath, any_path, parquet_files

pytestmark = pytest.mark.slow

N_PHOTOS = 10_000


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    with s3.serving() as endpoint:
        yield endpoint
    store_of.cache_clear()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Ten thousand small photos in ten folders, one of them broken, in the store and on disk."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(N_PHOTOS):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8).repeat(2, 0).repeat(2, 1)
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "PNG")
            content = file.getvalue() if i != 77 else b"\x89PNG\r\n\x1a\nbroken"
        path = folder / f"fruit {i % 10}" / f"{i:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    s3.put_tree(folder, "photos")
    return f"s3a://{s3.BUCKET}/photos", folder


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


def test_ten_thousand_photos_go_through_the_store_as_through_a_folder(
    photos: tuple[str, Path], tiny: Path, tmp_path: Path
) -> None:
    remote, local = photos
    out = f"s3a://{s3.BUCKET}/results/out"
    flags = ("--model", tiny, "--components", "2", "--export", "csv,json", "--single-file")
    told = manifest_of("run", remote, out, *flags, cwd=tmp_path)
    assert told["counts"]["features"] == N_PHOTOS - 1
    assert told["counts"]["rejected_by_reason"] == {"truncated": 1}
    assert told["parity"]["min_cosine"] > 0.9999

    here = manifest_of("run", local, tmp_path / "out", *flags, cwd=tmp_path)
    assert here["counts"] == told["counts"]
    for name in ("features", "rejected", "components"):
        assert table(any_path(out) / name).equals(table(tmp_path / "out" / name)), name
    rows = [json.loads(line) for line in (any_path(out) / "components.json").read_text().splitlines()]
    assert len(rows) == N_PHOTOS - 1 and {row["label"] for row in rows} == {f"fruit {i}" for i in range(10)}

    again = verger("run", remote, out, *flags, cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    left = [key for key in s3.keys("results/") if "staging" in key or "magic" in key]
    assert left == []
    logs = "".join(log.read_text(errors="replace") for log in (cache_dir() / "logs").glob("spark-*.log"))
    assert s3.SECRET not in logs + again.stdout + again.stderr + json.dumps(told)


def test_packed_photos_of_a_store_give_what_loose_ones_give(
    photos: tuple[str, Path], tiny: Path, tmp_path: Path
) -> None:
    remote, _ = photos
    packed = f"s3a://{s3.BUCKET}/packed"
    told = manifest_of("pack", f"{remote}/fruit 7", packed, cwd=tmp_path)
    assert told["counts"]["shards"] == 1
    for src, out in ((packed, "a"), (f"{remote}/fruit 7", "b")):
        manifest_of("features", src, tmp_path / out, "--model", tiny, cwd=tmp_path)
    for name in ("features", "rejected"):
        assert table(tmp_path / "a" / name).equals(table(tmp_path / "b" / name))


def test_a_run_that_fails_leaves_nothing_in_the_store(photos: tuple[str, Path], tmp_path: Path) -> None:
    out = f"s3a://{s3.BUCKET}/failed/out"
    (tmp_path / "no.onnx").write_bytes(b"no network")
    done = verger("run", photos[0], out, "--model", tmp_path / "no.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert [key for key in s3.keys("failed/") if not key.endswith("/")] == []


def test_a_killed_run_is_resumed_and_a_grown_bucket_taken_in(
    photos: tuple[str, Path], tiny: Path, tmp_path: Path
) -> None:
    remote, local = f"{photos[0]}/fruit 3", photos[1] / "fruit 3"
    out = f"s3a://{s3.BUCKET}/resumed/out"
    flags = ("--model", tiny, "--components", "2", "--no-report")
    run = start_verger("run", remote, out, *flags, cwd=tmp_path)
    while not any("/journal/" in key for key in s3.keys("resumed/")):
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    below = descendants(run.pid)
    run.kill()
    run.communicate(timeout=60)
    assert wait_until_gone(below, 15) == []

    counts = manifest_of("run", remote, out, *flags, "--resume", cwd=tmp_path)["counts"]
    assert counts["reused"] > 0 and counts["computed"] + counts["reused"] == counts["features"]
    manifest_of("run", local, tmp_path / "out", *flags, cwd=tmp_path)
    for name in ("features", "rejected", "components"):
        assert table(any_path(out) / name).equals(table(tmp_path / "out" / name)), name
    assert [key for key in s3.keys("resumed/") if "staging" in key] == []

    s3.put("photos/fruit 3/new.png", (photos[1] / "fruit 4" / "00004.png").read_bytes())
    again = manifest_of("run", remote, out, *flags, "--resume", cwd=tmp_path)["counts"]
    assert (again["computed"], again["reused"]) == (1, counts["features"])
