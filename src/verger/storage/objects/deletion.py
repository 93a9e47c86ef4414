"""Delete all objects of a folder, including the objects with which other tools mark folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from verger.storage.objects import pages
from verger.storage.objects.stores import pyarrow_store, send_delete_request, translate_error

# Stores in which other tools mark a folder with an object; the key of this object ends in a slash.
_STORES_WITH_MARKS = ("s3a://", "gs://")

_N_THREADS = 16
_S3_KEYS_PER_REQUEST = 1000


def delete_object(root: str, key: str) -> None:
    """Delete an object; raises FileNotFoundError if it does not exist (but S3 does not report this)."""
    import obstore

    send_delete_request(root, key, lambda store: obstore.delete(store, key))


def delete_tree(root: str, folder: str) -> None:
    """Delete every object below a folder, and the marks of folders."""
    with ThreadPoolExecutor(_N_THREADS) as pool:
        for level in pages.keys_below(root, folder):  # the deepest first: Azure may have real folders
            keys = [key for key in level if key != folder]
            list(pool.map(lambda keys: _delete_group(root, folder, keys), _request_groups(root, keys)))
    if root.startswith(_STORES_WITH_MARKS) and pages.keys_below(root, folder):
        _delete_marks(root, folder)


def _request_groups(root: str, keys: list[str]) -> list[list[str]]:
    """Split keys into groups, each for one request: 1000 keys on S3, one key on other stores."""
    n_each = _S3_KEYS_PER_REQUEST if root.startswith("s3a://") else 1
    return [keys[start : start + n_each] for start in range(0, len(keys), n_each)]


def _delete_group(root: str, folder: str, keys: list[str]) -> None:
    import obstore

    if len(keys) > 1:
        send_delete_request(root, folder, lambda store: obstore.delete(store, keys))
        return
    with suppress(FileNotFoundError):
        delete_object(root, keys[0])


def _delete_marks(root: str, folder: str) -> None:
    """Delete the marks with pyarrow, because obstore cannot use keys that end in a slash.

    In doing so, pyarrow creates a mark for the parent folder. So call this function only if marks exist.
    """
    import pyarrow as pa

    store = pyarrow_store(root)
    assert store is not None
    try:
        store.delete_dir(f"{root.partition('://')[2]}/{folder}")
    except FileNotFoundError:
        return
    except (OSError, pa.ArrowException) as error:
        raise translate_error(f"{root}/{folder}", error) from None
