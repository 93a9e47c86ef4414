"""Paths and URIs of files and folders, on this machine or in an object store.

The tables contain URIs as Spark writes them: file:/a b/c.jpg, not percent-encoded. URIs with an authority, such as
file:///a%20b/c.jpg, are percent-encoded (RFC 8089).
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from verger.errors import StorageError
from verger.storage.objects import ObjectPath, object_path

# A colon alone does not make a URI, because names may contain one: IMG-10:30.jpg, fruits:v2/1.jpg. Hadoop writes
# some schemes with a single slash.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(file|hdfs|viewfs|dbfs):/", re.IGNORECASE)
_FILE_URI = re.compile(r"file:(?://([^/]*))?(/.*)", re.IGNORECASE | re.DOTALL)
_ESCAPE = re.compile(r"\\x([89a-f][0-9a-f])")

if TYPE_CHECKING:
    import pyarrow as pa

# Path of a folder or file, on this machine or in an object store: both have the same methods.
AnyPath = Path | ObjectPath


def any_path(value: str) -> AnyPath:
    """Return a text or URI as a path; a local path becomes absolute, with `~` expanded.

    Raises StorageError for file systems that only Spark can read.
    """
    if is_hadoop(value):
        raise StorageError(
            f"{value}: verger can read photos from this file system, but not write results to it: choose a local "
            "folder or an object store"
        )
    return object_path(value) or local_folder(value)


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case; `file` for a plain path."""
    match = _SCHEME.match(uri)
    return (match[1] or match[2]).lower() if match else "file"


def is_local(uri: str) -> bool:
    """Return whether `uri` is a plain path or a file: URI."""
    return scheme_of(uri) == "file"


def is_hadoop(uri: str) -> bool:
    """Return whether `uri` is on a file system that only Spark's JVM can read: hdfs://host/..., viewfs:/..."""
    return not is_local(uri) and object_path(uri) is None


def to_local(uri: str) -> str:
    """Return the local path of a plain path or a file: URI.

    file:/a%20b names the file "a%20b", as Spark writes it; file:///a%20b and file://localhost/a%20b name "a b".
    Earlier versions wrote file://tmp/a b for //tmp/a b: if /tmp/a b exists, the URI names this file. Raises
    StorageError if a URI names another host.
    """
    match = _FILE_URI.fullmatch(uri)
    if match is None:
        return uri
    host, path = match.groups()
    if host is None:
        return path
    if host.lower() not in ("", "localhost"):
        if os.path.lexists(f"/{host}{path}"):
            return f"/{host}{path}"
        raise StorageError(f"{uri}: a file: URI names a file on this machine, not on the host {host!r}")
    return "/" + unquote(path, errors="surrogateescape").lstrip("/")


def local_name(uri: str) -> str:
    """Return the local path of a URI, for its names only: a URI of a file on another host stays as it is."""
    try:
        return to_local(uri)
    except StorageError:
        return uri


def escape_path(path: str) -> str:
    r"""Return a local path in the form for the tables: bytes that are not UTF-8 become escapes such as \xe9."""
    escaped = os.fsencode(path).decode("utf-8", "backslashreplace")
    return path if escaped == path else escaped  # the same object, to avoid copies of a million names


def local_file(uri: str) -> str:
    """Return the local path of a file from its path in a table: escapes of `escape_path` become bytes again."""
    path = to_local(uri)
    if "\\x" not in path or os.path.lexists(path):  # a name may contain a backslash itself
        return path
    return _ESCAPE.sub(lambda escape: os.fsdecode(bytes.fromhex(escape[1])), path)


def local_folder(value: str) -> Path:
    """Return an absolute local path, `~` expanded."""
    return Path(normal_path(os.path.abspath(os.path.expanduser(to_local(value)))))


def normal_path(path: str) -> str:
    """Return a local path without "." and ".."; unlike normpath, with one slash at its beginning, not two.

    POSIX lets a system give //a/b a meaning of its own, but file://a/b would be a file on the host a.
    """
    normal = os.path.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def is_within(path: AnyPath, folder: AnyPath) -> bool:
    """Return whether `path` is `folder` or lies in it; symbolic links are followed."""
    if isinstance(path, ObjectPath) and isinstance(folder, ObjectPath):
        return path.is_within(folder)
    if isinstance(path, Path) and isinstance(folder, Path):
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    return False


def split_glob(path: AnyPath) -> tuple[AnyPath, str]:
    """Split a path into a folder or file that exists, and the glob below it. Without a glob the latter is empty.

    Names that exist are never globs: folders may be called `res[1]`.
    """
    base, names = path, list[str]()
    while glob.has_magic(str(base)) and not _exists(base):
        names.insert(0, base.name)
        base = base.parent
    return base, "/".join(names)


def _exists(path: AnyPath) -> bool:
    """Return whether a path exists; False for a path in a folder that may not be read."""
    return os.path.exists(path) if isinstance(path, Path) else path.exists()


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
