"""What is in an object store: a thousand objects a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from verger.errors import StorageError
from verger.storage.objects.parallel_listing import ObjectInfo, list_ranges
from verger.storage.objects.stores import ask, ask_for_list

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PAGE = 1000
# Amazon's directory buckets list in no order, and from the start only. Azure's accounts with a hierarchical
# namespace have "/" before all other characters, and OneLake lists nothing after a key: no URI says which is which.
_DIRECTORY_BUCKET = "--x-s3"
_AZURE = ("abfss://", "abfs://", "az://")


def find(root: str, key: str) -> ObjectInfo:
    """Return the object of this key; FileNotFoundError where there is none."""
    import obstore

    return _found(ask(root, key, lambda store: obstore.head(store, key)))


def children(root: str, folder: str) -> tuple[list[ObjectInfo], list[str]]:
    """Return the objects and the folders' keys directly in a folder, each in their order."""
    import obstore

    listed = ask_for_list(root, folder, lambda store: obstore.list_with_delimiter(store, _prefix(folder)))
    files = sorted(_found(entry) for entry in listed["objects"] if entry["path"] != folder)
    return files, [key.strip("/") for key in sorted(listed["common_prefixes"])]


def is_sorted(root: str) -> bool:
    """Return whether a store lists in the order of the keys' bytes, and after any key."""
    return not root.endswith(_DIRECTORY_BUCKET) and not root.startswith(_AZURE)


def walk(root: str, folder: str) -> Iterator[ObjectInfo]:
    """Yield every object below a folder, in the order of the keys as far as the store has one."""
    objects = (
        list_ranges(_prefix(folder) or "", lambda start: _pages(root, folder, start), PAGE)
        if is_sorted(root)
        else chain.from_iterable(_pages(root, folder))
    )
    return _without_marks(folder, objects)


def keys_below(root: str, folder: str) -> list[list[str]]:
    """Return the keys of all objects below a folder, those that stand for folders too, the deepest level first."""
    keys = {found.key for page in _pages(root, folder) for found in page}
    by_depth = sorted(keys, key=_depth, reverse=True)
    return [list(level) for _, level in groupby(by_depth, _depth)]


def _depth(key: str) -> int:
    return key.count("/")


def is_empty(root: str, folder: str) -> bool:
    """Tell whether there is no object below a folder."""
    pages = _pages(root, folder, size=2)  # one may be the folder's own mark
    return next(_without_marks(folder, next(pages, [])), None) is None


def _pages(root: str, folder: str, start: str | None = None, size: int = PAGE) -> Iterator[list[ObjectInfo]]:
    """Yield the objects after the key `start`, a request for each page; one that breaks off is asked for again."""
    import obstore

    pages: Any = None
    last, n_pages = start, 0

    def open_pages(store: ObjectStore) -> Any:
        if is_sorted(root):
            return obstore.list(store, _prefix(folder), offset=last, chunk_size=size)
        opened = obstore.list(store, _prefix(folder), chunk_size=size)
        earlier = [page[-1]["path"] for page in islice(opened, n_pages)]
        if earlier and earlier[-1] != last:
            raise StorageError(f"{root}/{folder}: an answer broke off, and objects have changed since: list again")
        return opened

    def next_page(store: ObjectStore) -> Any:
        nonlocal pages
        asked = pages or open_pages(store)
        pages = None  # one that fails has ended
        page = next(asked, None)
        pages = asked
        return page

    while page := ask_for_list(root, folder, next_page):
        yield [_found(entry) for entry in page]
        last, n_pages = page[-1]["path"], n_pages + 1


def _without_marks(folder: str, objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Leave out the empty objects that stand for folders (their names end in a slash): they are not ours to see.

    One comes twice where it was the last before an answer broke off: its own name sorts after the one that is seen.
    """
    last: ObjectInfo | None = None
    for found in objects:
        if last is not None and found.key == last.key:
            continue
        if last is not None and (last.length or not found.key.startswith(f"{last.key}/")):
            yield last
        last = found if found.key != folder else None
    if last is not None:
        yield last


def _prefix(folder: str) -> str | None:
    return f"{folder}/" if folder else None


def _found(entry: Any) -> ObjectInfo:
    return ObjectInfo(entry["path"], entry["size"], int(entry["last_modified"].timestamp() * 1000) * 1000)
