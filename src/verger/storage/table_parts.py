"""List the part files of a table of features or components, in the order of their photos."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.storage.parquet import open_parquet
from verger.storage.uri import AnyPath

_AT_A_TIME = 16


@dataclass(frozen=True, order=True)
class TablePart:
    """A part file, and its number of rows. first_path: path of the first photo; empty if the footer lacks it."""

    first_path: str
    file: str
    n_rows: int
    path: AnyPath


def list_parts(files: Iterable[AnyPath], column: str) -> list[TablePart]:
    """Return the files that have rows, sorted by the paths of their first photos.

    The files are not sorted by name: their names depend on the run that wrote them, but the bits of PCA must not.
    Raises SourceError if a file lacks the columns path, label or `column`, or if `column` contains no arrays.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        parts = list(pool.map(lambda file: _part(file, column), files))
    return sorted(part for part in parts if part.n_rows)


def _part(file: AnyPath, column: str) -> TablePart:
    with open_parquet(file) as table:
        footer = table.metadata
    schema = footer.schema.to_arrow_schema()
    missing = {"path", "label", column} - set(schema.names)
    if missing:
        raise SourceError(f"{file} has no column {', '.join(sorted(missing))}: expected a table of verger")
    if not pa.types.is_list(schema.field(column).type):
        kind = schema.field(column).type
        raise SourceError(f"{file}: {column} are {kind}; expected arrays of float or double")
    return TablePart(_first_path(footer), str(file), footer.num_rows, file)


def _first_path(footer: pq.FileMetaData) -> str:
    if not footer.num_row_groups:
        return ""
    statistics = footer.row_group(0).column(footer.schema.names.index("path")).statistics
    return str(statistics.min) if statistics is not None and statistics.has_min_max else ""


def vector_width(part: TablePart, column: str) -> int:
    """Return the length of the vector in the first row; 0 if this vector is null."""
    with open_parquet(part.path) as file:
        batch = next(file.iter_batches(1, columns=[column]))
    return len(batch.column(0)[0].as_py() or ())
