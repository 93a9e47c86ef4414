"""Open Parquet files. The error for a damaged file, or for a file of another format, names the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.storage.uri import AnyPath

# Words in Arrow's messages about damage. Its messages about failures of the system have none of them.
_DAMAGE = re.compile(
    r"corrupt|invalid|malformed|negative|unsupported|not yet implemented|deserialize|decompress|expected"
    r"|magic|footer|end of stream|parquet|page|level|column",
    re.IGNORECASE,
)


@contextmanager
def open_parquet(file: AnyPath, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file with the options of `pyarrow.parquet.ParquetFile`.

    Raises SourceError if the file is damaged or is not a Parquet file, also while the block reads from the file.
    Other errors stay as they are, because another attempt may succeed: of the disk or store, and for lack of memory
    or threads.
    """
    try:
        with file.open("rb") as opened, pq.ParquetFile(opened, **options) as table:
            yield table
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and not _is_damage(error):
            raise
        raise damaged_parquet(file, error) from error


def _is_damage(error: OSError) -> bool:
    """Return whether Arrow's reader raised this error because of the file's content.

    For damage, Arrow raises OSError itself, not a subclass, and without an error number.
    """
    return type(error) is OSError and error.errno is None and _DAMAGE.search(str(error)) is not None


def damaged_parquet(file: AnyPath, error: Exception) -> SourceError:
    """Return the error for a file that Arrow cannot read."""
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    cause = cause.rstrip(" .:")
    return SourceError(f"{file} is damaged or not a Parquet file of verger: {cause}; compute this result again")
