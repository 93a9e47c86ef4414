"""Packed photos: millions of small files as Parquet shards of some 256 MB, bytes and all.

An object store charges for every request and takes its time over each; a shard is one. Row groups are as large as a
task of the chain, so that packed photos are shared out by the same rule as loose ones.
"""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verger import schema
from verger.errors import SettingsError
from verger.ingest.labels import labeller
from verger.ingest.listing import BYTES_PER_WEIGHT, MAX_TASKS, TASK_WEIGHT, Cut, Selection
from verger.publish import MANIFEST
from verger.settings import PHOTO_GLOBS
from verger.uri import AnyPath, any_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SHARD_BYTES = 256_000_000
SHARDS = Cut(per_photo=1, bytes_per_weight=1, task_weight=SHARD_BYTES, tasks_per_core=0)
IMAGES = "images"

_ROW_GROUP_BYTES = (1 << 20, 64 << 20)
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class Packed:
    """A result of `verger pack`: n_bytes in all, max_bytes in its largest photo."""

    folder: AnyPath
    n_photos: int
    n_bytes: int
    max_bytes: int

    @property
    def group_bytes(self) -> int:
        """The bytes of a row group."""
        return row_group_bytes(self.n_photos, self.n_bytes)

    @property
    def task_bytes(self) -> int:
        """The bytes of a task: a row group, or several where there were too many tasks."""
        return max(self.group_bytes, self.n_bytes // MAX_TASKS)


def row_group_bytes(n_photos: int, n_bytes: int) -> int:
    """Return the bytes of so many photos of the mean size as make a task of the chain."""
    mean = n_bytes / max(n_photos, 1)
    least, most = _ROW_GROUP_BYTES
    return int(min(max(mean * TASK_WEIGHT / (1 + mean / BYTES_PER_WEIGHT), least), most))


def find_packed(src: str) -> Packed | None:
    """Return what `src` holds where it is a result of `verger pack`, else None."""
    place = any_path(src)
    if not (place / MANIFEST).is_file():
        return None
    try:
        told = json.loads((place / MANIFEST).read_text())
    except ValueError:  # somebody else's manifest among the photos
        return None
    if not isinstance(told, dict) or told.get("command") != "pack":
        return None
    counts = told["counts"]
    return Packed(place / IMAGES, counts["listed"], counts["bytes"], counts["max_bytes"])


def packed_images(spark: SparkSession, packed: Packed, selection: Selection) -> DataFrame:
    """Return packed photos as schema.IMAGES, selected and labelled as loose ones are."""
    from pyspark.sql.functions import col, udf

    set_rows_a_batch(spark, packed.max_bytes)
    spark.conf.set("spark.sql.files.maxPartitionBytes", str(packed.task_bytes))
    spark.conf.set("spark.sql.files.openCostInBytes", "0")
    table = spark.read.schema(schema.IMAGES).parquet(str(packed.folder))
    if selection.glob != PHOTO_GLOBS:
        names = "|".join(fnmatch.translate(pattern) for pattern in selection.glob)
        is_photo = re.compile(names, re.IGNORECASE).match
        table = table.where(udf(lambda path: bool(is_photo(path.rpartition("/")[2])), "boolean")(col("path")))
    return choose(table, selection)


def set_rows_a_batch(spark: SparkSession, max_bytes: int) -> None:
    """Let no Arrow batch of photos fill a worker: Arrow counts rows, not bytes."""
    rows_a_batch = max(1, min(512, _BATCH_BYTES // max(max_bytes, 1)))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(rows_a_batch))


def choose(table: DataFrame, selection: Selection) -> DataFrame:
    """Return so many of the photos as are asked for, labelled as is asked; those of `table` are their parents'."""
    from pyspark.sql.functions import col, udf, xxhash64

    if selection.sample is not None:
        table = table.where(xxhash64("path") / 2.0**64 + 0.5 < selection.sample)
    if selection.limit is not None:
        table = table.limit(selection.limit)
    if selection.label == "parent":
        return table
    if selection.label.startswith("csv:"):
        raise SettingsError(
            "label",
            selection.label,
            "parent, none or regex:PATTERN for photos packed or on Hadoop",
        )
    return table.withColumn("label", udf(labeller(selection.label, ""), "string")(col("path")))


def write_shards(images: DataFrame, folder: AnyPath, group_bytes: int) -> None:
    """Write photos with their content, a shard a partition. They are compressed already."""
    options = {"compression": "none", "parquet.block.size": str(group_bytes), "parquet.enable.dictionary": "false"}
    # Left to itself Parquet looks at the size after a hundred rows: half a gigabyte of camera photos.
    options |= {f"parquet.{what}.size.row.check.min": "1" for what in ("page", "block")}
    images.write.options(**options).parquet(str(folder))
