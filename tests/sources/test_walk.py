from __future__ import annotations

import errno
import os
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import Row, SparkSession

from tests.support.folders import refuse_listing
from verger.engine.spark.compat import is_local
from verger.errors import SourceError
from verger.sources.partitions import MAX_WEIGHT, Listing, PartitionRule, Selection, list_photo_files
from verger.sources.walk import Skipped, walk_source
from verger.spark_ml.images import read_images, read_listing, send_listing, with_content
from verger.storage.schemas import IMAGES


def listed(
    src: object, tmp_path: Path, selection: Selection | None = None, n_slots: int = 2
) -> list[dict[str, object]]:
    listing = list_photo_files(str(src), selection or Selection(), tmp_path / "listing", n_slots)
    rows: list[dict[str, object]] = []
    for file in sorted(listing.folder.iterdir()):
        rows += pq.read_table(file).to_pylist()
    assert listing.n_photos == len(rows)
    return rows


def names(rows: list[dict[str, object]]) -> list[str]:
    return [Path(str(row["path"])).name for row in rows]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    files = ["a/1.jpg", "a/2.JPeG", "a/deep/3.PNG", "b c/4.tiff", "b c/5.WebP", "6.gif", "7.bmp", "8.TIF"]
    for name in [*files, "a/notes.txt", "a/._1.jpg", ".hidden/9.jpg", "_MG_10.jpg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 10)
    return folder


def test_photos_are_listed_at_any_depth_and_in_any_case(tree: Path, tmp_path: Path) -> None:
    rows = listed(tree, tmp_path)
    assert sorted(names(rows)) == sorted(
        ["1.jpg", "2.JPeG", "3.PNG", "4.tiff", "5.WebP", "6.gif", "7.bmp", "8.TIF", "_MG_10.jpg"]
    )
    first = next(row for row in rows if str(row["path"]).endswith("4.tiff"))
    assert first["path"] == f"file:{tree}/b c/4.tiff"
    assert first["length"] == 10
    assert first["modificationTime"].timestamp() == pytest.approx((tree / "b c/4.tiff").stat().st_mtime, abs=0.002)  # type: ignore[attr-defined]


SOURCES = ("{}", "file:{}", "file://{}", "{}/../tree", "{}/*", "{}/[ab]*", "{}/a/1.jpg")
GLOBS = ("{}/**", "{}/**/*", "{}/**/**", "{}/**/[34].*", "{}/a/**/?.PNG")


@pytest.mark.parametrize(
    "form", ["{}", "file:{}", "file://{}", "{}/../tree", "{}/*", "{}/[ab]*", "{}/a/1.jpg", *GLOBS]
)
def test_sources_may_be_paths_uris_and_globs(tree: Path, tmp_path: Path, form: str) -> None:
    expected = {"{}/[ab]*": 5, "{}/a/1.jpg": 1, "{}/**/[34].*": 2, "{}/a/**/?.PNG": 1}.get(form, 9)
    assert len(listed(form.format(tree), tmp_path)) == expected


def test_photos_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("Pear/1.jpg", "Pear Abate/2.jpg", "Pear.jpg", "Pear/z/3.jpg", "Pear/y.jpg", "Pear-/4.jpg"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    for source in ("tree", "tree/*"):
        paths = [str(row["path"]) for row in listed(tmp_path / source, tmp_path)]
        assert len(paths) == 6 and paths == sorted(paths), source


def test_a_walk_keeps_only_the_names_of_a_folder_in_memory(tmp_path: Path) -> None:
    n_files = 3000
    for i in range(n_files):
        (tmp_path / f"IMG_{i:08d}.jpg").touch()
    walk = walk_source(str(tmp_path), ("*.jpg",), Skipped())
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk) == n_files
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / n_files < 150, "bytes a file"


def test_a_relative_source_is_relative_to_the_working_folder(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    assert names(listed("a", tmp_path)) == ["1.jpg", "2.JPeG", "3.PNG"]


def test_globs_select_photos(tree: Path, tmp_path: Path) -> None:
    assert names(listed(tree, tmp_path, Selection(glob=("*.PNG", "?.gif")))) == ["6.gif", "3.PNG"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("parent", "b c"), ("none", None), (r"regex:/tree/(.)", "b"), (r"regex:(nowhere)", None)],
)
def test_label_rules(tree: Path, tmp_path: Path, rule: str, expected: str | None) -> None:
    rows = listed(tree / "b c", tmp_path, Selection(label=rule))
    assert {row["label"] for row in rows} == {expected}


def test_limit_and_sample_select_the_same_photos_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(400):
        (folder / f"{i}.jpg").write_bytes(b"x")
    assert len(listed(folder, tmp_path, Selection(limit=7))) == 7
    sampled = names(listed(folder, tmp_path / "one", Selection(sample=0.25)))
    assert 60 < len(sampled) < 140
    assert sampled == names(listed(folder, tmp_path / "two", Selection(sample=0.25)))


def test_linked_folders_are_followed_once_even_in_a_circle(tree: Path, tmp_path: Path) -> None:
    (tree / "a" / "up").symlink_to(tree)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "11.jpg").write_bytes(b"x")
    (tree / "link").symlink_to(outside)
    assert len(listed(tree, tmp_path)) == 10


def test_names_that_are_not_utf8_and_dangling_links_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/p\xeache.jpg", "wb") as file:
        file.write(b"x")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    assert sorted(names(listed(folder, tmp_path))) == ["gone.jpg", "p\\xeache.jpg"]


def test_a_source_without_photos_reports_the_other_files(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no photos in .*1 \.txt"):
        listed(tree / "a", tmp_path, Selection(glob=("*.heic",)))
    with pytest.raises(SourceError, match="no such folder"):
        listed(tmp_path / "absent", tmp_path)
    with pytest.raises(SourceError, match=r"hdfs://.*s3a"):
        listed("hdfs://host/photos", tmp_path)


def test_a_file_too_large_for_a_photo_weighs_no_more_than_the_largest(tmp_path: Path) -> None:
    """The photos behind it had a task each, as if they were to make up for its weight."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i in range(200):
        (folder / f"{i:04d}.jpg").touch()
    os.truncate(folder / "0000.jpg", 4 << 40)
    listing = list_photo_files(str(folder), Selection(), tmp_path / "listing", n_slots=2)
    assert listing.max_bytes == listing.n_bytes == 500_000_000
    assert listing.n_partitions <= 8


def test_photos_are_partitioned_by_bytes_and_count(tmp_path: Path) -> None:
    """The stated rule: a photo weighs 1 + bytes / 250,000, a task at most 768, four tasks a core."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i in range(900):
        path = folder / f"{i:04d}.jpg"
        path.touch()
        if i >= 800:
            os.truncate(path, 5_000_000)  # sparse: weighs 21
    listing: Listing = list_photo_files(str(folder), Selection(), tmp_path / "listing", n_slots=2)
    weights = []
    for file in sorted(listing.folder.iterdir()):
        weights.append(sum(1 + n / 250_000 for n in pq.read_table(file)["length"].to_pylist()))
    assert listing.n_partitions == len(weights) == 8
    assert max(weights) <= MAX_WEIGHT
    assert max(weights) - min(weights) <= 2 * 21
    small = list_photo_files(str(folder), Selection(limit=3), tmp_path / "small", n_slots=2)
    assert small.n_partitions == 3


def test_millions_of_photos_make_larger_partitions_not_more(tmp_path: Path) -> None:
    assert PartitionRule().n_partitions(10**8, 5_000 * 10**8, n_slots=2_000) == 20_000
    assert PartitionRule().n_partitions(10**6, 5_000 * 10**6, n_slots=16) == 1_344, "by weight, in whole rounds"
    assert PartitionRule().n_partitions(10**8, 5_000 * 10**8, n_slots=8_000) == 32_000, "four a core all the same"
    for i in range(50):
        (tmp_path / f"{i:02d}.jpg").write_bytes(b"x")
    rule = PartitionRule(max_weight=1, min_per_slot=1, max_partitions=10)
    listing = list_photo_files(str(tmp_path), Selection(), tmp_path / "listing", n_slots=2, rule=rule)
    assert [pq.read_table(file).num_rows for file in sorted(listing.folder.iterdir())] == [5] * 10


@pytest.mark.core
def test_images_keep_spark_binary_file_columns_and_one_partition_a_task(spark: SparkSession, tree: Path) -> None:
    settings = {row.key: row.value for row in spark.sql("SET").collect()}
    images = read_images(spark, str(tree))
    assert {row.key: row.value for row in spark.sql("SET").collect()} == settings
    assert images.rdd.getNumPartitions() == min(9, 4 * (os.cpu_count() or 1))
    full = with_content(images)
    assert full.columns == IMAGES.names
    ours = {_values(row) for row in full.drop("label").collect()}
    binary = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(str(tree))
    theirs = {_values(row) for row in binary.collect() if "/." not in row.path and not row.path.endswith(".txt")}
    # Spark passes over names that begin with _, as cameras give them; we do not.
    assert {row for row in ours if "_MG_" not in row[0]} == theirs
    assert [f.dataType for f in full.schema][:4] == [f.dataType for f in binary.schema]


@pytest.mark.core
def test_a_cluster_without_our_folders_is_sent_the_listing(spark: SparkSession, tree: Path) -> None:
    folder = tree.parent / "listing"
    listing = list_photo_files(str(tree), Selection(), folder)
    read, sent = read_listing(spark, listing), send_listing(spark, listing)
    shutil.rmtree(folder)
    assert sent.rdd.getNumPartitions() == listing.n_partitions
    assert sorted(sent.collect()) == sorted(read_images(spark, str(tree)).collect())
    assert is_local(spark) and read.columns == sent.columns


def _values(row: Row) -> tuple[Any, ...]:
    """Return a row's values; Spark 3.5 gives binary as bytearray, which cannot be in a set."""
    return tuple(bytes(value) if isinstance(value, bytearray) else value for value in row)


@pytest.mark.parametrize(
    "name", ["res[1]", "a*", "what?", "out{a,b}", "back\\slash", "fruits:v2", "-dash", " blank "]
)
def test_a_name_that_exists_is_no_glob(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (name, "res1", "a1", "whats"):
        (tmp_path / "base" / folder).mkdir(parents=True)
        (tmp_path / "base" / folder / "1.jpg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "base")
    for source in (name, f"./{name}", f"{name}/*.jpg", f"{name}/1.jpg"):
        assert [row["label"] for row in listed(source, tmp_path)] == [name], source
    monkeypatch.chdir(tmp_path / "base" / name)
    for source in (".", "*.jpg", "1.jpg"):
        assert [row["label"] for row in listed(source, tmp_path)] == [name], source


def test_a_glob_takes_only_photos_and_counts_the_others(tree: Path) -> None:
    skipped = Skipped()
    entries = list(walk_source(f"{tree}/a/*", ("*.jpg",), skipped))
    assert [Path(entry.path).name for entry in entries] == ["1.jpg"]
    assert skipped.counts() == {".jpeg": 1, ".png": 1, ".txt": 1, "hidden": 1}


def test_a_walk_through_links_in_a_circle_ends(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "base" / name).mkdir(parents=True)
        (tmp_path / "base" / name / "1.jpg").write_bytes(b"x")
        for other in ("up", "again"):
            (tmp_path / "base" / name / other).symlink_to(tmp_path / "base")
    for pattern in ("base", "base/**", "base/**/*.jpg", "base/*/**"):
        assert len(listed(tmp_path / pattern, tmp_path)) == 2, pattern


def test_files_of_systems_are_counted_and_are_no_photos(tmp_path: Path) -> None:
    for name in ("Pear/1.jpg", "Pear/@eaDir/1.jpg", "#recycle/2.jpg", "__MACOSX/3.jpg", ".ipynb_checkpoints/4.jpg"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    (tmp_path / "tree" / "Thumbs.db").touch()
    (tmp_path / "tree" / "a.long suffix").touch()
    (tmp_path / "tree" / "README").touch()
    skipped = Skipped()
    assert [entry.path for entry in walk_source(str(tmp_path / "tree"), ("*.jpg",), skipped)] == [
        f"{tmp_path}/tree/Pear/1.jpg"
    ]
    assert skipped.counts() == {"without suffix": 2, "hidden": 5}


def test_items_that_cannot_be_read_are_listed_and_end_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"x")
    for name in ("loop", "loop.jpg"):
        (folder / name).symlink_to(name)
    (folder / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jpg")
    assert names(listed(folder, tmp_path)) == ["1.jpg", "gone.jpg", "loop", "loop.jpg", "pipe.jpg"]


def test_a_folder_that_cannot_be_listed_is_an_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.jpg", "forbidden/2.jpg", "z/3.jpg"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    refuse_listing(monkeypatch, "forbidden", errno.EACCES)
    assert names(listed(tmp_path / "tree", tmp_path)) == ["1.jpg", "forbidden", "3.jpg"]
    assert names(listed(tmp_path / "tree" / "**" / "*.jpg", tmp_path)) == ["1.jpg", "forbidden", "3.jpg"]
    with pytest.raises(SourceError, match=r"cannot list .*forbidden: Permission denied"):
        listed(tmp_path / "tree" / "forbidden", tmp_path)


def test_a_glob_over_a_folder_of_files_asks_for_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_files = 500
    for number in range(n_files):
        (tmp_path / f"{number}.jpg").touch()
    real, asked = os.stat, Counter[str]()

    def stat(path: Any, **options: Any) -> os.stat_result:
        asked[str(path)] += 1
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert sum(1 for _ in walk_source(f"{tmp_path}/*.jpg", ("*.jpg",), Skipped())) == n_files
    assert max(asked[f"{tmp_path}/{number}.jpg"] for number in range(n_files)) == 1


@pytest.mark.parametrize(
    ("made", "link", "target", "glob"),
    [
        ("2024-05/{}.jpg", "latest", "2024-05", "**/latest"),
        ("b/x/{}.jpg", "0", "b/x", "*/x"),
        ("b/x/{}.jpg", "z", "b/x", "*/x"),
        ("b/x/{}.jpg", "0", "b", "*/x/*.jpg"),
    ],
)
def test_a_link_hides_no_photos_from_a_glob(tmp_path: Path, made: str, link: str, target: str, glob: str) -> None:
    for number in range(3):
        (tmp_path / "g" / made.format(number)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "g" / made.format(number)).touch()
    (tmp_path / "g" / link).symlink_to(target)
    assert len(listed(tmp_path / "g" / glob, tmp_path)) == 3
    assert len(listed(tmp_path / "g", tmp_path)) == 3


def test_a_folder_that_cannot_be_listed_for_a_moment_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.jpg", "mount/2.jpg"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    refuse_listing(monkeypatch, "mount", errno.EIO)
    with pytest.raises(SourceError, match=r"cannot list .*mount: Input/output error: run again"):
        listed(tmp_path / "tree", tmp_path)


def test_a_glob_counts_only_what_it_selects(tmp_path: Path) -> None:
    for name in ("m/a/IM_1.jpg", "m/a/IM_2.txt", "m/a/other.txt", "m/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "m" / "self").symlink_to("self")
    skipped = Skipped()
    entries = list(walk_source(f"{tmp_path}/m/*/IM*", ("*.jpg",), skipped))
    assert [Path(entry.path).name for entry in entries] == ["IM_1.jpg"]
    assert skipped.counts() == {".txt": 1}


def test_many_suffixes_are_counted_together() -> None:
    skipped = Skipped()
    for number in range(5000):
        skipped.add(f"1.2.840.{number}")
        skipped.add(f"scan.a{number}")
    counts = skipped.counts()
    assert len(counts) <= 22 and sum(counts.values()) == 10_000 and counts["without suffix"] == 5000
