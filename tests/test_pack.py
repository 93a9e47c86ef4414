from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from tests.chain import manifest_here, table, verger
from tests.networks import save_tiny_onnx
from verger.errors import SettingsError
from verger.ingest import Selection, find_packed, packed_images, row_group_bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("kiwi", "pear"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (10, 10), (i * 40, 90, 200)).save(tmp_path / "photos" / label / f"{i}.png")
    (tmp_path / "photos" / "pear" / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    (tmp_path / "photos" / "pear" / "gone.jpg").symlink_to("nowhere")
    return tmp_path / "photos"


@pytest.mark.usefixtures("spark")
def test_packed_photos_give_the_features_of_loose_ones(photos: Path, tmp_path: Path) -> None:
    save_tiny_onnx(tmp_path / "tiny.onnx")
    told = manifest_here("pack", photos, "packed", cwd=tmp_path)
    assert told["counts"]["listed"] == 14 and told["counts"]["shards"] == 1
    for src, out in (("packed", "a"), (photos, "b")):
        manifest_here("features", src, out, "--model", "tiny.onnx", "--no-report", cwd=tmp_path)
    assert table(tmp_path / "a" / "features").equals(table(tmp_path / "b" / "features"))
    rejected = [table(tmp_path / out / "rejected").to_pydict() for out in ("a", "b")]
    assert rejected[0]["path"] == rejected[1]["path"]
    assert rejected[1]["reason"] == ["corrupt", "unreadable"]


def test_packed_photos_are_selected_and_labelled(photos: Path, tmp_path: Path, spark: SparkSession) -> None:
    manifest_here("pack", photos, "packed", cwd=tmp_path)
    packed = find_packed(str(tmp_path / "packed"))
    assert packed is not None

    def labels(selection: Selection) -> list[str | None]:
        rows = packed_images(spark, packed, selection).select("label").collect()
        return sorted((label for (label,) in rows), key=str)

    assert labels(Selection()) == ["kiwi"] * 6 + ["pear"] * 8
    assert labels(Selection(glob=("*.JPG",))) == ["pear"] * 2
    assert labels(Selection(limit=3, label="none")) == [None] * 3
    assert labels(Selection(glob=("0.png",), label=r"regex:(\d)\.png")) == ["0", "0"]
    assert 0 < len(labels(Selection(sample=0.5))) < 14
    with pytest.raises(SettingsError, match="packed"):
        labels(Selection(label="csv:x.csv"))


@pytest.mark.usefixtures("spark")
def test_a_resume_set_for_runs_is_not_for_packing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_RESUME", "true")
    assert manifest_here("pack", photos, "packed", cwd=tmp_path)["counts"]["listed"] == 14
    assert "--overwrite" in verger("pack", photos, "packed", cwd=tmp_path).stderr


def test_photos_or_a_result_are_not_packed_photos(photos: Path) -> None:
    assert find_packed(str(photos)) is None


@pytest.mark.parametrize("manifest", ["[]", "no JSON", '{"name": "an app"}'])
def test_somebody_elses_manifest_among_photos_is_passed_over(photos: Path, manifest: str) -> None:
    (photos / "manifest.json").write_text(manifest)
    assert find_packed(str(photos)) is None


@pytest.mark.parametrize(("n_bytes", "expected"), [(5_000, 3_764_706), (5_000_000, 64 << 20), (100, 1 << 20)])
def test_a_row_group_is_a_task_of_the_chain(n_bytes: int, expected: int) -> None:
    assert row_group_bytes(1000, 1000 * n_bytes) == pytest.approx(expected, rel=1e-3)


def test_a_shard_is_cut_into_row_groups(tmp_path: Path, spark: SparkSession) -> None:
    from verger.ingest import write_shards
    from verger.schema import IMAGES

    rows = [(f"file:/{i}", None, 100_000, bytes([i]) * 100_000, "x") for i in range(40)]
    write_shards(spark.createDataFrame(rows, IMAGES).coalesce(1), tmp_path / "images", 1 << 20)
    (file,) = (tmp_path / "images").glob("*.parquet")
    assert pq.ParquetFile(file).num_row_groups >= 3
