"""Open Parquet files. The error for a damaged file, or for a file of another format, names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.storage.uri import AnyPath


@contextmanager
def open_parquet(file: AnyPath, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file with the options of `pyarrow.parquet.ParquetFile`.

    Raises SourceError if the file is damaged or is not a Parquet file, also while the block reads from the file.
    """
    try:
        with file.open("rb") as opened, pq.ParquetFile(opened, **options) as table:
            yield table
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the format
            raise
        raise damaged_parquet(file, error) from error


def damaged_parquet(file: AnyPath, error: Exception) -> SourceError:
    """Return the error for a file that Arrow cannot read."""
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    cause = cause.rstrip(" .:")
    return SourceError(f"{file} is damaged or not a Parquet file of verger: {cause}; compute this result again")
