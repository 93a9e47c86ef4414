"""What is in an object store: a thousand objects a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from verger.objects.ranges import Found, list_ranges
from verger.objects.stores import ask

PAGE = 1000
# Amazon's directory buckets list in no order, and from the start only.
_UNSORTED = "--x-s3"


def find(root: str, key: str) -> Found:
    """Return the object of this key; FileNotFoundError where there is none."""
    import obstore

    return _found(ask(root, key, lambda store: obstore.head(store, key)))


def children(root: str, folder: str) -> tuple[list[Found], list[str]]:
    """Return the objects and the folders' keys directly in a folder, each in their order."""
    import obstore

    listed = ask(root, folder, lambda store: obstore.list_with_delimiter(store, _prefix(folder)))
    files = sorted(_found(entry) for entry in listed["objects"] if entry["path"] != folder)
    return files, [key.strip("/") for key in sorted(listed["common_prefixes"])]


def walk(root: str, folder: str) -> Iterator[Found]:
    """Yield every object below a folder, in the order of the keys as far as the store has one."""
    is_sorted = not root.endswith(_UNSORTED)
    objects = (
        list_ranges(_prefix(folder) or "", lambda start: _pages(root, folder, start), PAGE)
        if is_sorted
        else chain.from_iterable(_pages(root, folder))
    )
    return _without_marks(folder, objects)


def is_empty(root: str, folder: str) -> bool:
    """Tell whether there is no object below a folder."""
    pages = _pages(root, folder, size=2)  # one may be the folder's own mark
    return next(_without_marks(folder, next(pages, [])), None) is None


def _pages(root: str, folder: str, start: str | None = None, size: int = PAGE) -> Iterator[list[Found]]:
    """Yield the objects after the key `start`, a request for each page."""
    import obstore

    pages = ask(root, folder, lambda store: obstore.list(store, _prefix(folder), offset=start, chunk_size=size))
    while chunk := ask(root, folder, lambda _: next(pages, None)):
        yield [_found(entry) for entry in chunk]


def _without_marks(folder: str, objects: Iterable[Found]) -> Iterator[Found]:
    """Leave out the empty objects that stand for folders (their names end in a slash): they are not ours to see."""
    last: Found | None = None
    for found in objects:
        if last is not None and (last.length or not found.key.startswith(f"{last.key}/")):
            yield last
        last = found if found.key != folder else None
    if last is not None:
        yield last


def _prefix(folder: str) -> str | None:
    return f"{folder}/" if folder else None


def _found(entry: Any) -> Found:
    return Found(entry["path"], entry["size"], int(entry["last_modified"].timestamp() * 1000) * 1000)
