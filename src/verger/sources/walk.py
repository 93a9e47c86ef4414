"""Finding the photos of a source: a folder, a glob, or a prefix in an object store."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verger.errors import SourceError
from verger.photo_names import heic_advice
from verger.sources.path_pattern import PathPattern, State, photo_names
from verger.storage.objects import SCHEMES, ObjectPath, object_path
from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.uri import escape_path, is_local, local_folder, split_glob

IsPhoto = Callable[[str], object]

# Folders and files that systems and programs make beside photos: previews, deleted files, checkpoints.
_SYSTEM_FOLDERS = "@eadir,#recycle,#snapshot,__macosx,$recycle.bin,system volume information,lost+found"
_SYSTEM_FILES = "thumbs.db,ehthumbs.db,desktop.ini"
_SYSTEM_NAMES = frozenset(f"{_SYSTEM_FOLDERS},{_SYSTEM_FILES}".split(","))

_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,7}")
_MAX_SUFFIXES = 1000  # names such as scan.a7f3 would make each file a suffix of its own
_MAX_SHOWN = 20

_NOTHING: State = frozenset()
_LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

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
    unlisted: paths of folders that cannot be listed; the photos in them are not known.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    n_hidden: int = 0
    unlisted: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{n:,} {suffix}" for suffix, n in self.counts().items())
        advice = heic_advice(self.suffixes)
        if not counts:
            return "; the source has no files at all"
        return f"; skipped files in the source: {counts}" + (f"; {advice}" if advice else "")

    def counts(self) -> dict[str, int]:
        """Return the numbers of skipped files by suffix, the most frequent first, and of hidden ones."""
        counts = dict(self.suffixes.most_common(_MAX_SHOWN))
        n_others = self.suffixes.total() - sum(counts.values())
        rest = {"other": counts.get("other", 0) + n_others, "hidden": self.n_hidden}
        return counts | {name: number for name, number in rest.items() if number}

    def add(self, name: str) -> None:
        """Count a file by its suffix."""
        suffix = os.path.splitext(name)[1].lower()
        suffix = suffix if _SUFFIX.fullmatch(suffix) else "without suffix"
        is_known = suffix in self.suffixes or len(self.suffixes) < _MAX_SUFFIXES
        self.suffixes[suffix if is_known else "other"] += 1


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
        yield from _FolderWalk(PathPattern(glob), is_photo, skipped).photos(str(base))
    elif os.path.lexists(base) and not glob:
        yield _file_entry(str(base))
    else:
        raise SourceError(f"{src}: no such folder or file")


class _FolderWalk:
    """A walk through a folder. Links to folders are followed, but each file is yielded only once.

    A real folder is read again only if another path to it may select more of its files.
    """

    def __init__(self, pattern: PathPattern, is_photo: IsPhoto, skipped: Skipped) -> None:
        self._pattern = pattern
        self._is_photo = is_photo
        self._skipped = skipped
        self._states: dict[str, State] = {}  # by real folder: the states of all visits
        # Path, state of this visit, state of earlier visits, and names that are left of each open folder.
        self._open = list[tuple[str, State, State, Iterator[str]]]()

    def photos(self, root: str) -> Iterator[Entry]:
        """Yield the photos below a folder; raises SourceError if this folder cannot be listed."""
        try:
            names = _names(root, self._skipped)
        except OSError as error:
            raise SourceError(f"cannot list {root}: {error.strerror}") from error
        self._states[os.path.realpath(root)] = self._pattern.start
        self._open.append((root, self._pattern.start, _NOTHING, iter(names)))
        yield from self._walk()

    def _walk(self) -> Iterator[Entry]:
        while self._open:
            folder, state, earlier, names = self._open[-1]
            marked = next(names, None)
            if marked is None:
                self._open.pop()
                continue
            name = marked.rstrip(_FOLDER + _UNREADABLE)
            reached, reached_earlier = self._pattern.enter(state, name), self._pattern.enter(earlier, name)
            if marked.endswith(_FOLDER):
                yield from self._enter(os.path.join(folder, name), reached, reached_earlier)
                continue
            is_selected = self._pattern.is_match(reached) and not self._pattern.is_match(reached_earlier)
            if marked.endswith(_UNREADABLE):
                yield from self._unreadable(os.path.join(folder, name), reached, is_selected=is_selected)
            elif is_selected:
                yield from self._file(os.path.join(folder, name), name)

    def _enter(self, path: str, state: State, earlier: State) -> Iterator[Entry]:
        """Open a folder, unless this visit cannot select more of its files than the earlier ones."""
        real = os.path.realpath(path)
        earlier |= self._states.get(real, _NOTHING)
        if state <= earlier:
            return
        self._states[real] = earlier | state
        try:
            names = _names(path, Skipped() if earlier else self._skipped)
        except OSError as error:
            if error.errno not in _LASTING:
                raise SourceError(f"cannot list {path}: {error.strerror}: run again") from error
            self._skipped.unlisted.append(path)
            yield _unreadable_entry(path)
        else:
            self._open.append((path, state, earlier, iter(names)))

    def _unreadable(self, path: str, reached: State, *, is_selected: bool) -> Iterator[Entry]:
        if is_selected or (reached and not _is_circular(path)):
            yield _unreadable_entry(path)

    def _file(self, path: str, name: str) -> Iterator[Entry]:
        if self._is_photo(name):
            yield _file_entry(path)
        else:
            self._skipped.add(name)


def _is_circular(path: str) -> bool:
    """Return whether a link leads back to itself; then nothing is below it."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


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
