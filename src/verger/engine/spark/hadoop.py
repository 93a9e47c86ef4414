"""Photos on a file system that only Spark's JVM knows (hdfs://, viewfs:/), read with their bytes by `binaryFile`.

Spark cuts them into tasks itself, by the rule of `listing` put into its own settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verger.engine.spark.compat import n_slots
from verger.errors import SettingsError, SourceError
from verger.sources.labels import make_labeller
from verger.sources.partitions import PartitionRule, Selection
from verger.storage.uri import is_hadoop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class HadoopFolder:
    """A folder, file or glob on a Hadoop file system."""

    src: str


def find_hadoop(src: str) -> HadoopFolder | None:
    """Return the source where it is a URI of a Hadoop file system, else None."""
    return HadoopFolder(src) if is_hadoop(src) else None


def hadoop_images(spark: SparkSession, folder: HadoopFolder, selection: Selection) -> tuple[DataFrame, int]:
    """Return the photos as schema.IMAGES, selected and labelled as local ones are, and how many they are.

    Files of zero bytes, and names that begin with a dot or an underscore, are passed over by Spark itself. Raises
    SourceError where there are no photos.
    """
    from pyspark.sql.functions import col, count, element_at, lit, split
    from pyspark.sql.functions import max as greatest

    _set_partition_rule(spark, PartitionRule())
    files = spark.read.format("binaryFile").options(
        recursiveFileLookup="true", pathGlobFilter=any_case(selection.glob)
    )
    photos = files.load(folder.src).withColumn("label", element_at(split(col("path"), "/"), -2))
    images = choose(photos, selection)
    found = images.agg(count(lit(1)), greatest("length")).first()
    assert found is not None
    n_photos, max_bytes = found
    if n_photos == 0:
        raise SourceError(f"no photos in {folder.src} that match {', '.join(selection.glob)}")
    set_rows_a_batch(spark, max_bytes)
    return images, n_photos


def set_rows_a_batch(spark: SparkSession, max_bytes: int) -> None:
    """Let no Arrow batch of photos fill a worker: Arrow counts rows, not bytes."""
    rows_a_batch = max(1, min(512, _BATCH_BYTES // max(max_bytes, 1)))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(rows_a_batch))


def choose(table: DataFrame, selection: Selection) -> DataFrame:
    """Return the photos that are asked for, labelled as asked; the labels of `table` are the folders' names."""
    from pyspark.sql.functions import col, udf, xxhash64

    if selection.sample is not None:
        table = table.where(xxhash64("path") / 2.0**64 + 0.5 < selection.sample)
    if selection.limit is not None:
        table = table.limit(selection.limit)
    if selection.label == "parent":
        return table
    if selection.label.startswith("csv:"):
        raise SettingsError("label", selection.label, "parent, none or regex:PATTERN for photos on Hadoop")
    return table.withColumn("label", udf(make_labeller(selection.label, ""), "string")(col("path")))


def _set_partition_rule(spark: SparkSession, rule: PartitionRule) -> None:
    """Tell Spark the rule: opening a file costs as many bytes as weigh what a photo weighs besides its own."""
    settings = {
        "openCostInBytes": rule.photo_weight * rule.bytes_per_weight,
        "maxPartitionBytes": rule.max_weight * rule.bytes_per_weight,
        "minPartitionNum": rule.min_per_core * n_slots(spark),
    }
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.files.{key}", str(int(value)))


def any_case(patterns: tuple[str, ...]) -> str:
    """Return one Hadoop glob for patterns of fnmatch, in upper and lower case: Hadoop's knows them apart."""
    spelt = (
        re.sub(r"(\[[^]]+\])|([a-z])", lambda m: m[1] or f"[{m[2].lower()}{m[2].upper()}]", pattern, flags=re.I)
        for pattern in patterns
    )
    return f"{{{','.join(spelt)}}}"
