"""Photos on a file system that only Spark can read (hdfs://, viewfs:/). Spark reads them as `binaryFile`.

Spark itself makes the partitions; its settings are chosen by the same `PartitionRule` as for other sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verger.engine.spark.compat import n_slots
from verger.errors import SettingsError, SourceError
from verger.sources.labels import label_function, nfc
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
    """Return the source if `src` is a URI of a Hadoop file system, otherwise None."""
    return HadoopFolder(src) if is_hadoop(src) else None


def hadoop_images(spark: SparkSession, folder: HadoopFolder, selection: Selection) -> tuple[DataFrame, int]:
    """Return the selected and labelled photos as a DataFrame (columns: schemas.IMAGES), and the number of photos.

    Spark skips empty files, and files whose names begin with a dot or an underscore. Raises SourceError if no photo
    is found.
    """
    from pyspark.sql.functions import count, lit
    from pyspark.sql.functions import max as greatest

    _set_partition_rule(spark, PartitionRule())
    files = spark.read.format("binaryFile").options(
        recursiveFileLookup="true", pathGlobFilter=case_insensitive_glob(selection.glob)
    )
    images = select_photos(files.load(folder.src), selection)
    found = images.agg(count(lit(1)), greatest("length")).first()
    assert found is not None
    n_photos, max_bytes = found
    if n_photos == 0:
        raise SourceError(f"no photos in {folder.src} that match {', '.join(selection.glob)}")
    _limit_arrow_batches(spark, max_bytes)
    return images, n_photos


def _limit_arrow_batches(spark: SparkSession, max_bytes: int) -> None:
    """Limit the memory of an Arrow batch of photos in a worker. Spark can only limit the number of rows."""
    rows_per_batch = max(1, min(512, _BATCH_BYTES // max(max_bytes, 1)))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(rows_per_batch))


def select_photos(table: DataFrame, selection: Selection) -> DataFrame:
    """Return the selected photos, with labels by the rule of the selection. In `table`, labels are folder names."""
    from pyspark.sql.functions import col, udf, xxhash64

    if selection.sample is not None:
        table = table.where(xxhash64("path") / 2.0**64 + 0.5 < selection.sample)
    if selection.limit is not None:
        table = table.limit(selection.limit)
    if selection.label.startswith("csv:"):
        raise SettingsError("label", selection.label, "parent, none or regex:PATTERN for photos on Hadoop")
    find = label_function(selection.label)
    return table.withColumn("label", udf(lambda path: (label := find(path)) and nfc(label), "string")(col("path")))


def _set_partition_rule(spark: SparkSession, rule: PartitionRule) -> None:
    """Make Spark partition by the rule. The rule's fixed weight per photo becomes Spark's cost to open a file."""
    settings = {
        "openCostInBytes": rule.photo_weight * rule.bytes_per_weight,
        "maxPartitionBytes": rule.max_weight * rule.bytes_per_weight,
        "minPartitionNum": rule.min_per_slot * n_slots(spark),
    }
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.files.{key}", str(int(value)))


def case_insensitive_glob(patterns: tuple[str, ...]) -> str:
    """Return one Hadoop glob for several fnmatch patterns. It ignores case, unlike other Hadoop globs."""
    globs = (
        re.sub(r"(\[[^]]+\])|([a-z])", lambda m: m[1] or f"[{m[2].lower()}{m[2].upper()}]", pattern, flags=re.I)
        for pattern in patterns
    )
    return f"{{{','.join(globs)}}}"
