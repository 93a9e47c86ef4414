"""Results whose tables are Delta tables: each run is a version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

import verger
from tests.support import s3
from tests.support.chain import verger as command
from verger.errors import ReductionError, SettingsError
from verger.sample import SampleOptions, render_sample
from verger.storage.table_files import parquet_files
from verger.storage.uri import any_path, read_parquet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    render_sample(folder, SampleOptions(per_kind=2, seed=3))
    return folder


def run(photos: Path, out: Path | str, **settings: Any) -> verger.Manifest:
    # Spark, which an earlier test may have started, does not know the variables of a store that was started later.
    chosen: dict[str, Any] = {"model": "fruitnet", "components": 3, "format": "delta", "engine": "local"} | settings
    return verger.run(str(photos), str(out), **chosen)


def features_of(table: pa.Table) -> dict[str, bytes]:
    rows = zip(table["path"].to_pylist(), table["features"].to_pylist(), strict=True)
    return {path: np.array(vector, np.float32).tobytes() for path, vector in rows}


def rows_of(out: Path | str) -> dict[str, bytes]:
    """Return path -> features of the newest version, as verger reads them."""
    return features_of(
        pa.concat_tables([read_parquet(file) for file in parquet_files(any_path(f"{out}/features"))])
    )


def version_of(out: Path, version: int) -> dict[str, bytes]:
    return features_of(DeltaTable(str(out / "features"), version=version).to_pyarrow_table())


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_each_run_is_a_version_that_can_be_read_later(
    photos: Path, tmp_path: Path, spark: SparkSession, engine: str
) -> None:
    out = tmp_path / "out"
    first = run(photos, out, engine=engine)
    assert first.table_versions == {"features": 0, "rejected": 0, "components": 0}
    before = rows_of(out)
    shutil.copy(photos / "Banana" / "0_100.jpg", photos / "Banana" / "new.jpg")
    (photos / "Lemon" / "0_100.jpg").unlink()
    second = run(photos, out, engine=engine, resume=True, prune=True)
    assert second.table_versions == {"features": 1, "rejected": 1, "components": 1}
    assert second.counts["reused"] > 0
    assert version_of(out, 0) == before
    assert version_of(out, 1) == rows_of(out)
    changed = before.keys() ^ rows_of(out).keys()
    assert {Path(path).name for path in changed} == {"new.jpg", "0_100.jpg"}
    plain = tmp_path / "plain"
    verger.run(str(photos), str(plain), model="fruitnet", components=3)
    assert rows_of(plain) == rows_of(out)


def test_other_programs_read_the_newest_version(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    run(photos, out, overwrite=True)
    read = pl.read_delta(str(out / "features"))
    assert sorted(read["path"]) == sorted(rows_of(out))
    assert len(DeltaTable(str(out / "components")).to_pandas()) == len(read)
    assert len(list((out / "features").glob("*.parquet"))) > len(parquet_files(out / "features"))


def test_a_failed_run_leaves_the_newest_version(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    before = rows_of(out)
    with pytest.raises(ReductionError):
        run(photos, out, overwrite=True, components=10_000)
    assert DeltaTable(str(out / "features")).version() == 0
    assert rows_of(out) == before


def test_a_history_is_not_dropped_by_accident(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    with pytest.raises(SettingsError, match="delta"):
        verger.run(str(photos), str(out), model="fruitnet", components=3, resume=True)
    verger.run(str(photos), str(out), model="fruitnet", components=3, overwrite=True)
    assert not (out / "features" / "_delta_log").exists()


def test_a_plain_result_becomes_a_delta_table(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    verger.run(str(photos), str(out), model="fruitnet", components=3)
    before = rows_of(out)
    assert run(photos, out, resume=True).table_versions["features"] == 0
    assert version_of(out, 0) == rows_of(out) == before


def test_the_history_is_printed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    run(photos, out, overwrite=True)
    printed = command("history", str(out), cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert [line.split()[1] for line in printed.stdout.splitlines() if " run " in line] == ["1", "0"]
    assert "no Delta table" in command("history", str(photos), cwd=tmp_path).stderr


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3.serving():
        yield f"s3://{s3.BUCKET}"


def test_results_in_a_bucket_have_versions_too(photos: Path, tmp_path: Path, bucket: str) -> None:
    out = f"{bucket}/out"
    run(photos, out)
    before = rows_of(out)
    (photos / "Lemon" / "0_100.jpg").unlink()
    assert run(photos, out, resume=True, prune=True).table_versions["features"] == 1
    copy = tmp_path / "copy"
    for name in [info.key for info in any_path(out).walk()]:  # type: ignore[union-attr]
        target = copy / name.removeprefix("out/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(any_path(f"{bucket}/{name}").read_bytes())
    assert version_of(copy, 0) == before
    assert version_of(copy, 1) == rows_of(out) == rows_of(copy)
    assert len(before) == len(rows_of(out)) + 1
