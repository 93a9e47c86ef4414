"""DataFrame -> files: Parquet always, CSV and JSON lines on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from verger import schema
from verger.errors import SettingsError
from verger.objects import ObjectPath
from verger.uri import AnyPath, parquet_files, remove_tree

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class ExportOptions:
    """Formats beside the Parquet ("csv", "json"), and whether each table is to be one file."""

    formats: tuple[str, ...] = ()
    single_file: bool = False


def write_parquet(table: DataFrame, folder: AnyPath, *, single_file: bool = False) -> None:
    """Write a table as Parquet, in one file or in one a task."""
    rows = table.coalesce(1) if single_file else table
    # Float vectors hardly repeat: a dictionary of them costs time and saves nothing.
    rows.write.option("parquet.enable.dictionary", "false").parquet(str(folder))


def remove_empty(folder: AnyPath) -> None:
    """Remove a table's file without rows: Spark's first task writes one even then, the others do not."""
    for file in parquet_files(folder)[:1]:
        with file.open("rb") as opened:
            has_rows = pq.read_metadata(opened).num_rows > 0
        if not has_rows:
            file.unlink()


def write_copies(table: DataFrame, vectors: str, folder: AnyPath, options: ExportOptions) -> list[str]:
    """Write `table` (path, label, `vectors`: array) as CSV and JSON beside its Parquet; return the names.

    CSV spreads the vectors over pc_1 .. pc_k (components) or f_1 .. f_d (features); JSON has one object a
    line. One file is written by one task that streams: the driver never holds the table.
    """
    writers = {"csv": _write_csv, "json": _write_json}
    written = []
    for name in options.formats:
        if name not in writers:
            raise SettingsError("export", name, list(writers))
        target = folder / f"{vectors}.{name}"
        rows = table.coalesce(1) if options.single_file else table
        writers[name](rows, vectors, target)
        if options.single_file:
            _unwrap(target)
        written.append(target.name)
    return written


def _write_csv(table: DataFrame, vectors: str, target: AnyPath) -> None:
    from pyspark.sql.functions import col

    first = table.select(vectors).where(col(vectors).isNotNull()).first()
    width = len(first[0]) if first else 0
    prefix = "pc" if vectors == "components" else "f"
    spread = [col(vectors)[i].alias(f"{prefix}_{i + 1}") for i in range(width)]
    # RFC 4180: a quote in a path is doubled, not escaped with a backslash.
    table.select("path", "label", *spread).write.csv(str(target), header=True, escape='"')


def _write_json(table: DataFrame, vectors: str, target: AnyPath) -> None:
    table.select("path", "label", vectors).write.json(str(target), ignoreNullFields=False)


def _unwrap(folder: AnyPath) -> None:
    """Make the one part file in `folder` take the folder's place."""
    beside = folder.with_name(f".{folder.name}")
    (part,) = folder.glob("part-*")
    _move(part, beside)
    remove_tree(folder)
    _move(beside, folder)


def _move(source: AnyPath, target: AnyPath) -> None:
    if isinstance(source, ObjectPath) and isinstance(target, ObjectPath):
        source.copy_to(target)
        source.unlink()
    elif isinstance(source, Path) and isinstance(target, Path):
        source.rename(target)


def features_of(outcomes: DataFrame) -> DataFrame:
    """Return the `features` table of featurized photos."""
    return outcomes.where("reason is null").select(*schema.columns(schema.FEATURES))


def write_rejected(spark: SparkSession, journal: AnyPath, folder: AnyPath) -> None:
    """Write the `rejected` table of a run's journal, in one file, in the order of the paths."""
    if not parquet_files(journal):  # there was nothing to do
        write_parquet(spark.createDataFrame([], schema.REJECTED), folder, single_file=True)
        return
    kept = spark.read.schema(schema.REJECTED).parquet(str(journal)).where("reason is not null")
    write_parquet(kept.repartition(1).sortWithinPartitions("path"), folder)
