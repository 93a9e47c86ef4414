"""Finding the photos of a source: a folder, a glob, or a prefix in an object store."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verger.errors import SourceError
from verger.photo_names import heic_advice
from verger.sources.path_pattern import PathPattern, photo_names
from verger.storage.objects import SCHEMES, ObjectPath, object_path
from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.uri import escape_path, is_local, local_folder, split_glob

IsPhoto = Callable[[str], object]

# Folders and files that systems and programs make beside photos: previews, deleted files, checkpoints.
_SYSTEM_FOLDERS = "@eadir,#recycle,#snapshot,__macosx,$recycle.bin,system volume information,lost+found"
_SYSTEM_FILES = "thumbs.db,ehthumbs.db,desktop.ini"
_SYSTEM_NAMES = frozenset(f"{_SYSTEM_FOLDERS},{_SYSTEM_FILES}".split(","))

_SUFFIX = re.compile(r"\.\w{1,9}")

# Marks at the ends of names while the names in a folder are sorted. No file name contains these characters.
_FOLDER, _UNREADABLE = "/", "\0"


@dataclass(frozen=True)
class Entry:
    """A photo in a source: its path (for labels and samples), its URI (for the tables), its time and size.

    A folder that cannot be listed is an entry too, so that it becomes a row in `rejected`.
    """

    path: str
    uri: str
    modified_us: int
    length: int


@dataclass
class Skipped:
    """Counts of the files that were skipped.

    suffixes: files whose names match no pattern, by suffix in lower case.
    n_hidden: hidden files and folders (.name), and those that systems make, such as Thumbs.db and __MACOSX.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    n_hidden: int = 0

    def __str__(self) -> str:
        counts = ", ".join(f"{n:,} {suffix}" for suffix, n in self.counts().items())
        advice = heic_advice(self.suffixes)
        if not counts:
            return "; the source has no files at all"
        return f"; skipped files in the source: {counts}" + (f"; {advice}" if advice else "")

    def counts(self) -> dict[str, int]:
        """Return the numbers of skipped files by suffix, the most frequent first, and of hidden ones."""
        counts = dict(self.suffixes.most_common())
        return counts | {"hidden": self.n_hidden} if self.n_hidden else counts

    def add(self, name: str) -> None:
        """Count a file by its suffix."""
        suffix = os.path.splitext(name)[1]
        self.suffixes[suffix.lower() if _SUFFIX.fullmatch(suffix) else "without suffix"] += 1


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or is one that systems and programs make beside photos."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _SYSTEM_NAMES


def walk_source(src: str, patterns: tuple[str, ...], skipped: Skipped) -> Iterator[Entry]:
    """Yield the photos of `src` whose names match one of the patterns, in the order of their paths.

    Each photo is yielded once, even if parts of a glob overlap. All other files are counted in `skipped`. Raises
    SourceError if `src` does not exist, or if `src` is a folder that cannot be listed.
    """
    is_photo = photo_names(patterns).match
    if (location := object_path(src)) is not None:
        yield from _walk_objects(location, is_photo, skipped)
        return
    if not is_local(src):
        schemes = ", ".join(SCHEMES)
        raise SourceError(
            f"{src}: expected a folder, a file: URI, or one of {schemes}; `run` on Spark reads others"
        )
    base, glob = split_glob(local_folder(src))
    assert isinstance(base, Path)
    if base.is_dir():
        yield from _walk_folder(base, PathPattern(glob), is_photo, skipped)
    elif os.path.lexists(base) and not glob:
        yield _file_entry(str(base))
    else:
        raise SourceError(f"{src}: no such folder or file")


def _walk_folder(root: Path, pattern: PathPattern, is_photo: IsPhoto, skipped: Skipped) -> Iterator[Entry]:
    """Yield the photos below a folder. Links to folders are followed, but each real folder is read only once."""
    seen = {os.path.realpath(root)}
    try:
        waiting = [(str(root), pattern.start, iter(_names(str(root), skipped)))]
    except OSError as error:
        raise SourceError(f"cannot list {root}: {error.strerror}") from error
    while waiting:
        folder, state, names = waiting[-1]
        marked = next(names, None)
        if marked is None:
            waiting.pop()
            continue
        name = marked.rstrip(_FOLDER + _UNREADABLE)
        path, reached = os.path.join(folder, name), pattern.enter(state, name)
        if marked == name:
            if not is_photo(name):
                skipped.add(name)
            elif pattern.is_match(reached):
                yield _file_entry(path)
        elif reached:
            below = _open_folder(path, seen, skipped) if marked.endswith(_FOLDER) else None
            if below is None:
                yield _unreadable_entry(path)
            else:
                waiting.append((path, reached, below))


def _open_folder(path: str, seen: set[str], skipped: Skipped) -> Iterator[str] | None:
    """Return the names in a folder: no names if the real folder is in `seen`, None if it cannot be listed."""
    real = os.path.realpath(path)
    if real in seen:
        return iter(())
    seen.add(real)
    try:
        return iter(_names(path, skipped))
    except OSError:
        return None


def _names(folder: str, skipped: Skipped) -> list[str]:
    """Return the sorted names in a folder. Names of folders, and of links that cannot be followed, end in a mark.

    Only names are kept, because the directory entries of millions of files would take 1 GB. Raises OSError.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                skipped.n_hidden += 1
                continue
            try:
                names.append(entry.name + _FOLDER * entry.is_dir())
            except OSError:  # a link that leads back to itself, or into a folder without permission
                names.append(entry.name + _UNREADABLE)
    names.sort(key=escape_path)
    return names


def _file_entry(path: str) -> Entry:
    try:
        status = os.stat(path)
        # Whole milliseconds, as in Hadoop's file status.
        modified_us, length = status.st_mtime_ns // 1_000_000 * 1000, status.st_size
    except OSError:  # a link to a missing file: the worker puts the photo into `rejected`
        modified_us, length = 0, 0
    path = escape_path(path)
    return Entry(path, f"file:{path}", modified_us, length)


def _unreadable_entry(path: str) -> Entry:
    path = escape_path(path)
    return Entry(path, f"file:{path}", 0, 0)


def _walk_objects(location: ObjectPath, is_photo: IsPhoto, skipped: Skipped) -> Iterator[Entry]:
    base, glob = split_glob(location)
    assert isinstance(base, ObjectPath)
    if base.key and not glob and not base.is_dir() and base.is_file():
        yield _object_entry(base.root, base.find())
        return
    pattern = PathPattern(glob)
    n_found = 0
    for found in base.walk():
        n_found += 1
        names = found.key[len(base.key) :].strip("/").split("/")
        if not pattern.is_selected(names):
            continue
        if any(map(is_hidden, names)):
            skipped.n_hidden += 1
        elif is_photo(names[-1]):
            yield _object_entry(base.root, found)
        else:
            skipped.add(names[-1])
    if not n_found:
        raise SourceError(f"{location}: the store has no objects below {base}/")


def _object_entry(root: str, found: ObjectInfo) -> Entry:
    uri = f"{root}/{found.key}"
    return Entry(uri, uri, found.modified_us, found.length)
