"""Tables to files: parts joined, CSV and JSON lines on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from verger.engine.base import Engine
from verger.errors import SettingsError
from verger.storage import schemas
from verger.storage.parts_list import TablePart, vector_width
from verger.storage.uri import AnyPath, parquet_files, read_parquet
from verger.tasks.export import WRITERS, ExportItem, ExportJob, export_partition
from verger.tasks.part_files import part_file
from verger.tasks.spans import split_into_spans

# Rows of one CSV or JSON file where there may be several.
_ROWS_A_FILE = 65_536

_FIRST = "part-000000.parquet"


@dataclass(frozen=True)
class ExportOptions:
    """Formats beside the Parquet ("csv", "json"), and whether each table is to be one file."""

    formats: tuple[str, ...] = ()
    single_file: bool = False


def write_copies(
    engine: Engine, parts: Sequence[TablePart], column: str, folder: AnyPath, options: ExportOptions
) -> list[str]:
    """Write a table (path, label, `column`: array) as CSV and JSON beside its Parquet; return the names.

    CSV spreads the vectors over pc_1 .. pc_k (components) or f_1 .. f_d (features); JSON has one object a line. Of
    a table without rows CSV has path and label alone, and JSON is empty.
    """
    written = []
    for name in options.formats:
        if name not in WRITERS:
            raise SettingsError("export", name, list(WRITERS))
        target = folder / f"{column}.{name}"
        n_rows = sum(part.n_rows for part in parts)
        groups = split_into_spans(
            [(part.file, part.n_rows) for part in parts], n_rows if options.single_file else _ROWS_A_FILE
        ) or [()]
        files = [target] if options.single_file else [target / f"part-{i:06d}.{name}" for i in range(len(groups))]
        items = [ExportItem(str(file), spans) for file, spans in zip(files, groups, strict=True)]
        job = ExportJob(
            name, column, vector_width(parts[0], column) if parts else 0, "pc" if column == "components" else "f"
        )
        engine.map(export_partition, items, job)
        written.append(target.name)
    return written


def write_rejected(parts: AnyPath, folder: AnyPath) -> None:
    """Join the parts of `rejected` that the tasks have left into one file, in the order of the photos."""
    with part_file(folder / _FIRST) as target, pq.ParquetWriter(target, schemas.REJECTED) as writer:
        for part in parquet_files(parts):
            writer.write_table(read_parquet(part))


def write_if_empty(folder: AnyPath) -> None:
    """Write a file without rows into a folder of features that has none: readers find the columns."""
    if not parquet_files(folder):
        with part_file(folder / _FIRST) as target:
            pq.write_table(schemas.FEATURES.empty_table(), target)
