"""The export stage on the driver: tables -> CSV and JSON lines. The worker side is `verger.tasks.export`."""

from __future__ import annotations

from verger.errors import SettingsError
from verger.pipeline.context import COMPONENTS, RunContext
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import TablePart, list_parts, vector_width
from verger.storage.uri import AnyPath
from verger.tasks.export import WRITERS, ExportItem, ExportJob, export_partition
from verger.tasks.spans import split_into_spans

_ROWS_A_FILE = 65_536  # rows per CSV or JSON file, unless --single-file is set


def export_table(context: RunContext, table: AnyPath) -> None:
    """Write a table of features or components in the formats of `--export` too, beside its Parquet files."""
    if not context.settings.export:
        return
    context.progress.stage("export")
    with context.manifest.timed("export"):
        parts = list_parts(parquet_files(table), table.name)
        context.manifest.exports = [
            _write_copy(context, parts, table.name, name) for name in context.settings.export
        ]


def _write_copy(context: RunContext, parts: list[TablePart], column: str, format_name: str) -> str:
    """Write path, label and the vectors of `column` in one format; return the name of the file or folder.

    A CSV has one column per value of the vectors: pc_1 .. pc_k (components) or f_1 .. f_d (features). A JSON file
    has one object per line. If the table has no rows, the CSV has only the columns path and label, and the JSON is
    empty.
    """
    if format_name not in WRITERS:
        raise SettingsError("export", format_name, list(WRITERS))
    target = context.stage / f"{column}.{format_name}"
    is_single = context.settings.single_file
    rows_a_file = sum(part.n_rows for part in parts) if is_single else _ROWS_A_FILE
    groups = split_into_spans([(part.file, part.n_rows) for part in parts], rows_a_file) or [()]
    files = [target] if is_single else [target / f"part-{i:06d}.{format_name}" for i in range(len(groups))]
    items = [ExportItem(str(file), spans) for file, spans in zip(files, groups, strict=True)]
    width = vector_width(parts[0], column) if parts else 0
    job = ExportJob(format_name, column, width, "pc" if column == COMPONENTS else "f")
    context.engine.map(export_partition, items, job)
    return target.name
