"""Photos on file systems that only Spark's JVM knows: viewfs every day, a real HDFS in the slow tests."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from tests.support import hdfs
from tests.support.chain import manifest_here, table, verger
from verger.engine.spark.hadoop import HadoopFolder, case_insensitive_glob, hadoop_images
from verger.errors import JobError, SettingsError, SourceError
from verger.pipeline.chain import features
from verger.process.progress import SilentProgress
from verger.settings import load_settings
from verger.sources.partitions import Selection
from verger.spark_ml.images import read_images
from verger.storage.schemas import IMAGES
from verger.storage.uri import is_hadoop


@pytest.fixture
def mounted(spark: SparkSession, photos: Path) -> Iterator[str]:
    """The photos under another scheme: a mount that Spark's Hadoop knows, and Python does not."""
    key = "fs.viewfs.mounttable.orchard.link./photos"
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set(key, f"file://{photos}")
    yield "viewfs://orchard/photos"
    hadoop.unset(key)


@pytest.fixture
def on_hdfs(spark: SparkSession, photos: Path) -> Iterator[str]:
    with hdfs.serving() as root:
        hadoop = spark._jvm.org.apache.hadoop.fs  # type: ignore[union-attr]
        place = hadoop.Path(f"{root}/photos")
        files = place.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        files.copyFromLocalFile(hadoop.Path(f"file://{photos}"), place)
        yield f"{root}/photos"


def without_root(rows: pa.Table, root: str) -> pa.Table:
    at = rows.schema.get_field_index("path")
    return rows.set_column(at, "path", pc.replace_substring(rows["path"], root, ""))


def check_the_chain(src: str, photos: Path, tiny_model: str, tmp_path: Path) -> None:
    """The tables are those of the same photos on disk, but for what Spark passes over: the file of no bytes."""
    manifest = manifest_here("features", src, "there", "--model", tiny_model, cwd=tmp_path, engine="spark")
    manifest_here("features", photos, "here", "--model", tiny_model, cwd=tmp_path)
    assert (manifest["counts"]["listed"], manifest["counts"]["features"]) == (14, 12)
    for name in ("features", "rejected"):
        there = without_root(table(tmp_path / "there" / name), src)
        here = without_root(table(tmp_path / "here" / name), f"file:{photos}")
        assert there.equals(here.filter(pc.invert(pc.match_substring(here["path"], "empty"))))


def test_photos_on_another_file_system_give_what_local_ones_give(
    mounted: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    check_the_chain(mounted, photos, tiny_model, tmp_path)


@pytest.mark.slow
def test_photos_on_hdfs_give_what_local_ones_give(
    on_hdfs: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    check_the_chain(on_hdfs, photos, tiny_model, tmp_path)


def test_they_are_selected_and_labelled_as_local_ones_are(spark: SparkSession, mounted: str) -> None:
    def labels(selection: Selection, src: str = mounted) -> list[str | None]:
        images, n_photos = hadoop_images(spark, HadoopFolder(src), selection)
        assert sorted(images.columns) == sorted(IMAGES.names)
        found = [label for (label,) in images.select("label").collect()]
        assert len(found) == n_photos
        return sorted(found, key=str)

    assert labels(Selection()) == ["apple"] * 4 + ["kiwi"] * 5 + ["pear"] * 5
    assert labels(Selection(), f"{mounted}/[ak]*") == ["apple"] * 4 + ["kiwi"] * 5
    assert labels(Selection(glob=("0.jpg",), label="none")) == [None] * 3
    assert labels(Selection(limit=2, label=r"regex:(photos)")) == ["photos"] * 2
    assert 0 < len(labels(Selection(sample=0.5))) < 14
    with pytest.raises(SettingsError, match="Hadoop"):
        labels(Selection(label="csv:x.csv"))
    with pytest.raises(SourceError, match=r"no photos in viewfs://orchard/photos that match \*\.heic"):
        read_images(spark, mounted, Selection(glob=("*.heic",)))


@pytest.mark.parametrize("pattern", ["*.jpg", "DSC?.jpg", "[!ab]*.PNG", "ü*.jp2"])
def test_globs_ignore_case(pattern: str) -> None:
    spelt = case_insensitive_glob((pattern,))[1:-1]
    for name in ("x.JPG", "dsc1.jpeg", "DSC1.JpG", "c.png", "a.png", "ü1.JP2"):
        assert fnmatchcase(name, spelt) == fnmatchcase(name.lower(), pattern.lower())


def test_other_file_systems_are_distinguished_from_paths_and_stores() -> None:
    there = ["hdfs://host:8020/photos", "hdfs:///photos", "viewfs:/photos", "dbfs:/photos"]
    here = ["photos", "/photos", "file:/photos", "s3a://bucket/photos", "photos:2024", "gs://bucket"]
    assert [uri for uri in there + here if is_hadoop(uri)] == there


def test_a_result_on_hdfs_is_refused_before_anything_starts(photos: Path, tmp_path: Path) -> None:
    done = verger("run", photos, "hdfs://host/out", cwd=tmp_path)
    assert done.returncode == 1 and "hdfs://host/out" in done.stderr and "object store" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("spark")
def test_a_missing_file_system_is_reported(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nofs"):
        features("nofs://host/photos", tmp_path / "out", load_settings(model=tiny_model), SilentProgress())
