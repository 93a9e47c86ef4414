from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.chain import files, manifest_here, table, verger
from tests.support.networks import save_tiny_onnx
from verger.errors import ResultError, SourceError
from verger.sources.packed import find_packed, list_packed_photos, row_group_bytes
from verger.sources.partitions import Selection
from verger.storage.table_files import parquet_files
from verger.storage.uri import read_parquet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("kiwi", "pear"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (10, 10), (i * 40, 90, 200)).save(tmp_path / "photos" / label / f"{i}.png")
    (tmp_path / "photos" / "pear" / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    (tmp_path / "photos" / "pear" / "gone.jpg").symlink_to("nowhere")
    return tmp_path / "photos"


def test_packed_photos_give_the_features_of_loose_ones(photos: Path, tmp_path: Path) -> None:
    save_tiny_onnx(tmp_path / "tiny.onnx")
    manifest = manifest_here("pack", photos, "packed", cwd=tmp_path)
    assert manifest["counts"]["listed"] == 14 and manifest["counts"]["shards"] == 1
    for src, out in (("packed", "a"), (photos, "b")):
        manifest_here("features", src, out, "--model", "tiny.onnx", "--no-report", cwd=tmp_path)
    assert table(tmp_path / "a" / "features").equals(table(tmp_path / "b" / "features"))
    rejected = [table(tmp_path / out / "rejected").to_pydict() for out in ("a", "b")]
    assert rejected[0]["path"] == rejected[1]["path"]
    assert rejected[1]["reason"] == ["corrupt", "unreadable"]


def test_packed_photos_are_selected_and_labelled(photos: Path, tmp_path: Path) -> None:
    manifest_here("pack", photos, "packed", cwd=tmp_path)
    packed = find_packed(str(tmp_path / "packed"))
    assert packed is not None

    def labels(selection: Selection) -> list[str | None]:
        folder = tmp_path / f"listing-{len(list(tmp_path.iterdir()))}"
        listing = list_packed_photos(packed, selection, folder)
        found = pq.read_table(folder)["label"].to_pylist()
        assert listing.n_photos == len(found)
        return sorted(found, key=str)

    assert labels(Selection()) == ["kiwi"] * 6 + ["pear"] * 8
    assert labels(Selection(glob=("*.JPG",))) == ["pear"] * 2
    assert labels(Selection(limit=3, label="none")) == [None] * 3
    assert labels(Selection(glob=("0.png",), label=r"regex:(\d)\.png")) == ["0", "0"]
    assert 0 < len(labels(Selection(sample=0.5))) < 14
    (tmp_path / "x.csv").write_text(f"path,label\n{photos}/kiwi/0.png,green\n")
    assert labels(Selection(glob=("0.png",), label=f"csv:{tmp_path}/x.csv")) == [None, "green"]
    with pytest.raises(SourceError, match="no photos"):
        labels(Selection(glob=("*.heic",)))


def test_packed_photos_whose_paths_name_another_host_are_listed(photos: Path, tmp_path: Path) -> None:
    manifest_here("pack", photos, "packed", cwd=tmp_path)
    packed = find_packed(str(tmp_path / "packed"))
    assert packed is not None
    (shard,) = parquet_files(packed.folder)
    rows = read_parquet(shard)
    paths = [f"file://nas{path.removeprefix('file:')}" for path in rows["path"].to_pylist()]
    pq.write_table(rows.set_column(rows.column_names.index("path"), "path", [paths]), shard)
    for label in ("parent", r"regex:/(\w+)/\w+\.png"):
        folder = tmp_path / f"listing-{label[:2]}"
        list_packed_photos(packed, Selection(label=label, glob=("*.png",)), folder)
        assert sorted(set(pq.read_table(folder)["label"].to_pylist())) == ["kiwi", "pear"]


def test_a_resume_set_for_runs_is_not_for_packing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_RESUME", "true")
    assert manifest_here("pack", photos, "packed", cwd=tmp_path)["counts"]["listed"] == 14
    assert "--overwrite" in verger("pack", photos, "packed", cwd=tmp_path).stderr


def test_packed_photos_are_not_replaced_by_their_features(photos: Path, tmp_path: Path) -> None:
    manifest_here("pack", photos, "packed", cwd=tmp_path)
    before = files(tmp_path / "packed")
    with pytest.raises(ResultError, match="would replace the source"):
        manifest_here("run", "packed", "packed", "--overwrite", cwd=tmp_path)
    assert files(tmp_path / "packed") == before


def test_photos_or_a_result_are_not_packed_photos(photos: Path) -> None:
    assert find_packed(str(photos)) is None


@pytest.mark.parametrize("manifest", ["[]", "no JSON", '{"name": "an app"}'])
def test_a_foreign_manifest_among_photos_is_ignored(photos: Path, manifest: str) -> None:
    (photos / "manifest.json").write_text(manifest)
    assert find_packed(str(photos)) is None


@pytest.mark.parametrize(("n_bytes", "expected"), [(5_000, 3_764_706), (5_000_000, 64 << 20), (100, 1 << 20)])
def test_a_row_group_is_a_task_of_the_chain(n_bytes: int, expected: int) -> None:
    assert row_group_bytes(1000, 1000 * n_bytes) == pytest.approx(expected, rel=1e-3)


def test_a_shard_is_cut_into_row_groups_and_a_task_has_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.sources.packed._ROW_GROUP_BYTES", (1 << 20, 1 << 20))
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 255, (200, 200, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    manifest_here("pack", tmp_path / "photos", "packed", cwd=tmp_path)
    (file,) = (tmp_path / "packed" / "images").glob("*.parquet")
    n_groups = pq.ParquetFile(file).num_row_groups
    assert n_groups >= 3
    packed = find_packed(str(tmp_path / "packed"))
    assert packed is not None
    assert list_packed_photos(packed, Selection(), tmp_path / "listing").n_partitions == n_groups


def test_parity_is_checked_on_the_bytes_that_were_read(tmp_path: Path) -> None:
    """A smaller copy has other features than the photo that it is of, and so has a photo that has changed."""
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (200, 200, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    save_tiny_onnx(tmp_path / "tiny.onnx")

    def parity(src: str, out: str, *more: str) -> dict[str, float]:
        words = ("features", src, out, "--model", "tiny.onnx", "--no-report", *more)
        found: dict[str, float] = manifest_here(*words, cwd=tmp_path)["parity"]
        return found

    parity("photos", "loose")
    manifest_here("pack", "photos", "packed", "--max-side", 64, cwd=tmp_path)
    (tmp_path / "photos").rename(tmp_path / "away")
    of_shards = parity("packed", "small")
    (tmp_path / "away").rename(tmp_path / "photos")
    assert of_shards["n_checked"] == 4 and of_shards["min_cosine"] > 0.9999
    of_loose = parity("packed", "loose", "--resume")
    assert of_loose["n_checked"] == 4 and of_loose["min_cosine"] > 0.9999, "their features are of the loose photos"
    (folder / "0.png").unlink()
    Image.new("RGB", (200, 200), "red").save(folder / "1.png")
    of_rest = parity("packed", "loose", "--resume")
    assert of_rest["n_checked"] == 2 and of_rest["min_cosine"] > 0.9999


def test_packed_photos_may_be_smaller_copies(tmp_path: Path) -> None:
    (tmp_path / "photos" / "x").mkdir(parents=True)
    Image.new("RGB", (800, 400), "red").save(tmp_path / "photos" / "x" / "large.jpg")
    Image.new("RGB", (80, 40), "red").save(tmp_path / "photos" / "x" / "small.png")
    (tmp_path / "photos" / "x" / "words.jpg").write_text("no photo")
    manifest_here("pack", tmp_path / "photos", "packed", "--max-side", 200, cwd=tmp_path)
    rows = pq.read_table(tmp_path / "packed" / "images").to_pylist()
    sizes = {Path(row["path"]).name: Image.open(io.BytesIO(row["content"])).size for row in rows[:2]}
    assert sizes == {"large.jpg": (200, 100), "small.png": (80, 40)}
    assert rows[2]["metadata"] == "set-aside"
