"""The files of a table, which is a folder of Parquet files or a Delta table."""

from __future__ import annotations

from contextlib import suppress

from verger.storage.delta_tables import LOG, active_files
from verger.storage.uri import AnyPath

_PARQUET = ".parquet"


def parquet_files(folder: AnyPath) -> list[AnyPath]:
    """Return the files of a table, sorted by name; of a Delta table, those of its newest version."""
    files: dict[str, AnyPath] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        files = {path.name: path for path in folder.iterdir()}
    if LOG in files:
        return active_files(folder)
    return [files[name] for name in sorted(files) if name.endswith(_PARQUET)]
