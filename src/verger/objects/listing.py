"""What is in an object store: a thousand objects a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from verger.objects.stores import ask

PAGE = 1000


class Found(NamedTuple):
    """An object: its key, bytes, and time of its last change in microseconds since 1970."""

    key: str
    length: int
    modified_us: int


def children(root: str, folder: str) -> tuple[list[Found], list[str]]:
    """Return the objects and the folders' keys directly in a folder, each in their order."""
    import obstore

    listed = ask(root, folder, lambda store: obstore.list_with_delimiter(store, _prefix(folder)))
    files = sorted(_found(entry) for entry in listed["objects"] if entry["path"] != folder)
    return files, [key.strip("/") for key in sorted(listed["common_prefixes"])]


def walk(root: str, folder: str, page: int = PAGE) -> Iterator[Found]:
    """Yield every object below a folder, in the order of the keys."""
    return _without_marks(folder, _pages(root, folder, page))


def _pages(root: str, folder: str, page: int) -> Iterator[Found]:
    import obstore

    pages = ask(root, folder, lambda store: obstore.list(store, _prefix(folder), chunk_size=page))
    while chunk := ask(root, folder, lambda _: next(pages, None)):
        yield from map(_found, chunk)


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
