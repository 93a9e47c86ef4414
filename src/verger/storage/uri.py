"""Paths and URIs of files and folders, on this machine or in an object store.

URIs are as Spark writes them: file:/a b/c.jpg, not percent-encoded.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from verger.errors import StorageError
from verger.storage.objects import ObjectPath, object_path

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")

if TYPE_CHECKING:
    import pyarrow as pa

# Path of a folder or file, on this machine or in an object store: both have the same methods.
AnyPath = Path | ObjectPath


def any_path(value: str) -> AnyPath:
    """Return the path for a text or URI; a local path becomes absolute, with `~` expanded. Raises StorageError."""
    if is_hadoop(value):
        raise StorageError(
            f"{value}: verger can read photos from this file system, but not write results to it: choose a local "
            "folder or an object store"
        )
    return object_path(value) or local_folder(value)


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case; `file` for a plain path."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else "file"


def is_local(uri: str) -> bool:
    """Return whether `uri` is a plain path or a file: URI."""
    return scheme_of(uri) == "file"


def is_hadoop(uri: str) -> bool:
    """Return whether `uri` is on a file system that only Spark's JVM can read: hdfs://host/..., viewfs:/..."""
    return re.match(rf"{_SCHEME.pattern}/", uri) is not None and not is_local(uri) and object_path(uri) is None


def to_local(uri: str) -> str:
    """Return the local path of a plain path or a file:/, file:// or file:/// URI."""
    if not uri.lower().startswith("file:"):
        return uri
    rest = uri[len("file:") :]
    return "/" + rest.lstrip("/") if rest.startswith("/") else rest


def local_folder(value: str) -> Path:
    """Return an absolute local path, `~` expanded."""
    return Path(os.path.abspath(os.path.expanduser(to_local(value))))


def is_within(path: AnyPath, folder: AnyPath) -> bool:
    """Return whether `path` is `folder` or lies in it; symbolic links are followed."""
    if isinstance(path, ObjectPath) and isinstance(folder, ObjectPath):
        return path.is_within(folder)
    if isinstance(path, Path) and isinstance(folder, Path):
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    return False


def glob_base(path: AnyPath) -> AnyPath:
    """Return the folder in which a glob starts; any other path unchanged."""
    if isinstance(path, Path) and path.exists():  # a name with brackets need not be a glob
        return path
    while glob.has_magic(str(path)):
        path = path.parent
    return path


def parquet_files(folder: AnyPath) -> list[AnyPath]:
    """Return the files of a table, sorted by name."""
    return sorted(folder.glob("*.parquet"), key=str)


def read_parquet(file: AnyPath) -> pa.Table:
    """Read a whole Parquet file. `pyarrow.parquet.read_table` would import pandas if it is installed."""
    import pyarrow.parquet as pq  # imported here because `verger predict` does not need it

    with file.open("rb") as opened, pq.ParquetFile(opened) as table:
        return table.read()


def remove_tree(folder: AnyPath) -> None:
    """Remove a folder and its content, if it exists."""
    if isinstance(folder, ObjectPath):
        folder.remove_tree()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def link_file(source: AnyPath, target: AnyPath) -> None:
    """Make `source` available at `target` too: as a hard link if the disk supports it, otherwise as a copy."""
    if isinstance(source, ObjectPath) and isinstance(target, ObjectPath):
        source.copy_to(target)
    elif isinstance(source, Path) and isinstance(target, Path):
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
