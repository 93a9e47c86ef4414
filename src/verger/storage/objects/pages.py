"""List the objects of a store; each request returns a page of a thousand objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from verger.errors import StorageError
from verger.storage.objects.parallel_listing import ObjectInfo, key_in_order, list_ranges
from verger.storage.objects.stores import pyarrow_store, send_list_request, send_request, translate_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PAGE = 1000
# Stores that do not list in the order of the keys' bytes. Amazon's directory buckets have no order. Azure accounts
# with a hierarchical namespace sort "/" before all other characters, and OneLake cannot start after a key; the URI
# does not show the kind of account.
_DIRECTORY_BUCKET = "--x-s3"
_AZURE = ("abfss://", "abfs://", "az://")


def find(root: str, key: str) -> ObjectInfo:
    """Return the object with this key; raises FileNotFoundError if it does not exist."""
    import obstore

    return _info(send_request(root, key, lambda store: obstore.head(store, key)))


def children(root: str, folder: str) -> tuple[list[ObjectInfo], list[str]]:
    """Return the objects directly in a folder, and the keys of the folders directly in this folder, both sorted."""
    import obstore

    listed = send_list_request(root, folder, lambda store: obstore.list_with_delimiter(store, _prefix(folder)))
    files = sorted(_info(entry) for entry in listed["objects"] if entry["path"] != folder)
    return files, [key.strip("/") for key in sorted(listed["common_prefixes"])]


def is_sorted(root: str) -> bool:
    """Return whether a store lists in the order of the keys' bytes, and can start the list after any key."""
    return not root.endswith(_DIRECTORY_BUCKET) and not root.startswith(_AZURE)


def walk(root: str, folder: str) -> Iterator[ObjectInfo]:
    """Yield every object below a folder, sorted by key if the store lists in order."""
    objects = (
        list_ranges(_prefix(folder) or "", lambda start: _pages(root, folder, start), PAGE)
        if is_sorted(root)
        else chain.from_iterable(_pages(root, folder))
    )
    return _without_marks(folder, _with_invalid_keys(root, folder, objects))


def _with_invalid_keys(root: str, folder: str, objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Yield objects. If obstore refuses a page because of one key, the rest is listed with pyarrow.

    pyarrow accepts any key, but returns all objects at once: about 500 MB for a million. Raises StorageError if the
    rest cannot be listed.
    """
    last: str | None = ""  # None: the store does not list in the order of the keys
    try:
        for info in objects:
            last = None if last is None else key_in_order(last, info)
            yield info
    except StorageError as error:
        store = pyarrow_store(root)
        if not error.is_invalid_key or store is None or last is None:
            raise
        yield from (info for info in _list_with_pyarrow(store, root, folder) if info.key > last)


def _list_with_pyarrow(store: Any, root: str, folder: str) -> list[ObjectInfo]:
    import pyarrow as pa
    from pyarrow import fs

    bucket = root.partition("://")[2]
    try:
        found = store.get_file_info(fs.FileSelector(f"{bucket}/{folder}".rstrip("/"), recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise translate_error(f"{root}/{folder}", error) from None
    return sorted(
        ObjectInfo(info.path.removeprefix(f"{bucket}/"), info.size, info.mtime_ns // 1_000_000 * 1000)
        for info in found
        if info.type == fs.FileType.File
    )


def keys_below(root: str, folder: str) -> list[list[str]]:
    """Return all keys below a folder, including marks of folders, grouped by depth, the deepest group first."""
    keys = {info.key for page in _pages(root, folder) for info in page}
    by_depth = sorted(keys, key=_depth, reverse=True)
    return [list(level) for _, level in groupby(by_depth, _depth)]


def _depth(key: str) -> int:
    return key.count("/")


def is_empty(root: str, folder: str) -> bool:
    """Return whether there is no object below a folder."""
    pages = _pages(root, folder, size=2)  # one of the two may be the mark of the folder itself
    try:
        return next(_without_marks(folder, next(pages, [])), None) is None
    except StorageError as error:
        if error.is_invalid_key:  # it is the key of an object in the folder
            return False
        raise


def _pages(root: str, folder: str, start: str | None = None, size: int = PAGE) -> Iterator[list[ObjectInfo]]:
    """Yield the objects after the key `start`, one request per page; an incomplete page is requested again."""
    import obstore

    pages: Any = None
    last, n_pages = start, 0

    def open_pages(store: ObjectStore) -> Any:
        if is_sorted(root):
            return obstore.list(store, _prefix(folder), offset=last, chunk_size=size)
        opened = obstore.list(store, _prefix(folder), chunk_size=size)
        earlier = [page[-1]["path"] for page in islice(opened, n_pages)]
        if earlier and earlier[-1] != last:
            raise StorageError(f"{root}/{folder}: objects were changed while they were listed: run again")
        return opened

    def next_page(store: ObjectStore) -> Any:
        nonlocal pages
        current = pages or open_pages(store)
        pages = None  # after an error obstore's listing has ended, so the next attempt opens another one
        page = next(current, None)
        pages = current
        return page

    while page := send_list_request(root, folder, next_page):
        yield [_info(entry) for entry in page]
        last, n_pages = page[-1]["path"], n_pages + 1


def _without_marks(folder: str, objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Leave out the marks of folders: empty objects whose keys end in a slash. obstore removes this slash.

    A listing that starts after a mark returns this mark again: the real key has a slash, so it sorts after the key
    without the slash.
    """
    last: ObjectInfo | None = None
    for info in objects:
        if last is not None and info.key == last.key:
            continue
        if last is not None and (last.length or not info.key.startswith(f"{last.key}/")):
            yield last
        last = info if info.key != folder else None
    if last is not None:
        yield last


def _prefix(folder: str) -> str | None:
    return f"{folder}/" if folder else None


def _info(entry: Any) -> ObjectInfo:
    return ObjectInfo(entry["path"], entry["size"], int(entry["last_modified"].timestamp() * 1000) * 1000)
