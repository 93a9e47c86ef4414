"""Finding the photos of a source: a folder, a glob, or a prefix in an object store."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verger.errors import SourceError
from verger.storage.objects import SCHEMES, ObjectPath, object_path
from verger.storage.uri import is_local, to_local

IsPhoto = Callable[[str], object]


@dataclass(frozen=True)
class Entry:
    """A photo in a source: its path (for labels and samples), its URI (for the tables), its time and size."""

    path: str
    uri: str
    modified_us: int
    length: int


@dataclass
class Skipped:
    """Counts of the skipped files, whose names match no pattern, by suffix."""

    suffixes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in self.suffixes.most_common(5))
        return f"; skipped files in the source: {counts}" if counts else "; the source has no files at all"

    def add(self, name: str) -> None:
        """Count a file."""
        self.suffixes[os.path.splitext(name)[1].lower()] += 1


def walk_source(src: str, patterns: tuple[str, ...], skipped: Skipped) -> Iterator[Entry]:
    """Yield the photos of `src` whose names match one of the patterns, in the order of their paths.

    All other files are counted in `skipped`, except hidden files (.name). Raises SourceError.
    """
    is_photo = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE).match
    if (location := object_path(src)) is not None:
        yield from _walk_objects(location, is_photo, skipped)
        return
    if not is_local(src):
        schemes = ", ".join(SCHEMES)
        raise SourceError(
            f"{src}: expected a folder, a file: URI, or one of {schemes}; `run` on Spark reads others"
        )
    local = os.path.abspath(os.path.expanduser(to_local(src)))
    roots = (
        [Path(local)]
        if os.path.exists(local)
        else [Path(match) for match in sorted(glob.glob(local, recursive=True), key=_sort_key)]
    )
    if not roots:
        raise SourceError(f"{src}: no such folder, and no folder or file matches this glob")
    for root in roots:
        yield from map(_local_entry, _walk_folder(root, is_photo, skipped))


def _walk_folder(root: Path, is_photo: IsPhoto, skipped: Skipped) -> Iterator[str]:
    """Yield the paths of photos. Symbolic links to folders are followed, but each real folder is read only once."""
    if root.is_file():
        yield str(root)
        return
    seen = {os.path.realpath(root)}
    waiting = [(str(root), iter(_names(str(root))))]
    while waiting:
        folder, names = waiting[-1]
        name = next(names, None)
        if name is None:
            waiting.pop()
        elif name.endswith("/"):
            below = os.path.join(folder, name[:-1])
            if (real := os.path.realpath(below)) not in seen:
                seen.add(real)
                waiting.append((below, iter(_names(below))))
        elif is_photo(name):
            yield os.path.join(folder, name)
        else:
            skipped.add(name)


def _names(folder: str) -> list[str]:
    """Return the sorted names in a folder; the names of folders end with a slash.

    Only names are kept: the directory entries of millions of files would take 1 GB.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"cannot list {folder}: {error.strerror}") from error
    names.sort(key=_escape_path)
    return names


def _sort_key(path: str) -> str:
    """Return the path to sort by, with a slash behind a folder: "a b/1.jpg" comes before "a/1.jpg"."""
    return _escape_path(path) + "/" * os.path.isdir(path)


def _escape_path(path: str) -> str:
    """Return a path as the tables store it: bytes that are not UTF-8 become backslash escapes."""
    escaped = os.fsencode(path).decode("utf-8", "backslashreplace")
    return path if escaped == path else escaped  # the same object, to avoid copies of a million names


def _local_entry(path: str) -> Entry:
    try:
        status = os.stat(path)
        # Whole milliseconds, as in Hadoop's file status.
        modified_us, length = status.st_mtime_ns // 1_000_000 * 1000, status.st_size
    except OSError:  # a link to a missing file: the worker puts the photo into `rejected`
        modified_us, length = 0, 0
    path = _escape_path(path)  # if this changed the name, the file cannot be read and ends in `rejected`
    return Entry(path, f"file:{path}", modified_us, length)


def _walk_objects(location: ObjectPath, is_photo: IsPhoto, skipped: Skipped) -> Iterator[Entry]:
    pattern = location.key.split("/")
    n_plain = next((i for i, part in enumerate(pattern) if glob.has_magic(part)), len(pattern))
    base = ObjectPath(location.root, "/".join(pattern[:n_plain]))
    n_found = 0
    for found in [base.find()] if base.is_file() else base.walk():
        n_found += 1
        parts = found.key.split("/")
        is_match = len(parts) >= len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))
        if not (is_match or not location.key) or any(part.startswith(".") for part in parts[n_plain:]):
            continue
        if is_photo(parts[-1]):
            uri = f"{location.root}/{found.key}"
            yield Entry(uri, uri, found.modified_us, found.length)
        else:
            skipped.add(parts[-1])
    if not n_found:
        raise SourceError(f"{location}: the store has no objects below {base}/")
