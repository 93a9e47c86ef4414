"""Object stores as folders and files: s3a://, gs:// and abfss:// or az:// URIs, by obstore.

`ObjectPath` answers to the part of pathlib's interface that verger needs, so that results and sources are read
and written by the same code wherever they lie. Endpoint, region and credentials come from where the stores' own
tools take them (AWS_ENDPOINT_URL, AWS_PROFILE, an instance's role, application default credentials); a request
that a store or the network lets down is made again for a minute.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from verger.storage.objects import gcs, pages, s3
from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.objects.stores import T, ask, ask_to_delete, failure

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

SCHEMES = ("s3a", "s3", "s3n", "gs", "abfss", "abfs", "az")
_S3 = ("s3a", "s3", "s3n")
_AZURE = ("abfss", "abfs", "az")
# Stores where a key that ends in a slash stands for a folder.
_MARKING = ("s3a://", "gs://")
_URI = re.compile(rf"^({'|'.join(SCHEMES)})://([^/]+)/*(.*)$", re.IGNORECASE | re.DOTALL)

_AT_A_TIME = 16
_KEYS_A_REQUEST = 1000


@dataclass(frozen=True)
class Version:
    """Version of an object's content: its e-tag (S3, Azure), and its generation (Cloud Storage)."""

    e_tag: str | None
    generation: str | None

    @property
    def condition(self) -> UpdateVersion:
        """The version as obstore takes it."""
        found: UpdateVersion = {}
        if self.e_tag is not None:
            found["e_tag"] = self.e_tag
        if self.generation is not None:
            found["version"] = self.generation
        return found


@dataclass(frozen=True, order=True)
class ObjectPath:
    """A place in an object store: `root` is scheme://bucket, `key` has no slash at either end."""

    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.root, f"{self.key}/{name.strip('/')}".strip("/"))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> ObjectPath:
        """The folder it is in; the bucket's own is itself."""
        return ObjectPath(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """Return its neighbour `name`."""
        return self.parent / name

    def is_within(self, folder: ObjectPath) -> bool:
        """Tell whether it is a folder, or lies in it."""
        return _is_same_bucket(self.root, folder.root) and f"{self.key}/".startswith(f"{folder.key}/".lstrip("/"))

    def is_file(self) -> bool:
        """Tell whether there is an object of this key."""
        try:
            self.find()
        except FileNotFoundError:
            return False
        return True

    def size(self) -> int:
        """Return the object's bytes; FileNotFoundError where there is none."""
        return self.find().length

    def find(self) -> ObjectInfo:
        """Return what is known of the object; FileNotFoundError where there is none."""
        return pages.find(self.root, self.key)

    def is_dir(self) -> bool:
        """Tell whether there are objects below: an object store has no empty folders."""
        return not pages.is_empty(self.root, self.key)

    def exists(self) -> bool:
        """Tell whether it is an object, or a folder of some."""
        return self.is_dir() or self.is_file()

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the objects and folders in this one, in the order of their names."""
        files, folders = self.children()
        for key in sorted({found.key for found in files} | {folder.key for folder in folders}):
            yield ObjectPath(self.root, key)

    def children(self) -> tuple[list[ObjectInfo], list[ObjectPath]]:
        """Return the objects and the folders directly in this one, each in the order of their names."""
        files, folders = pages.children(self.root, self.key)
        return files, [ObjectPath(self.root, key) for key in folders]

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what is directly in this folder and has a name of the pattern."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def walk(self) -> Iterator[ObjectInfo]:
        """Yield every object below, in the order of the keys."""
        return pages.walk(self.root, self.key)

    def read_bytes(self, check: Callable[[int], None] | None = None) -> bytes:
        """Return the object's bytes; FileNotFoundError where there is none.

        check: called with their number before they are read; what it raises is raised here.
        """
        import obstore

        def read(store: ObjectStore) -> bytes:
            found = obstore.get(store, self.key)
            if check is not None:
                check(found.meta["size"])
            return bytes(found.bytes())

        return self._ask(read)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Put an object: a reader sees all of it or none."""
        import obstore

        self._ask(lambda store: obstore.put(store, self.key, data))

    def write_file(self, file: Path) -> None:
        """Put a local file as an object, in parts where it is large: a reader sees all of it or none."""
        import obstore

        self._ask(lambda store: obstore.put(store, self.key, file))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Put an object of text."""
        self.write_bytes(text.encode(encoding))

    def read_version(self) -> tuple[bytes, Version]:
        """Return the object's bytes and their version; FileNotFoundError where there is none."""
        import obstore

        def read(store: ObjectStore) -> tuple[bytes, Version]:
            found = obstore.get(store, self.key)
            return bytes(found.bytes()), Version(found.meta["e_tag"], found.meta["version"])

        return self._ask(read)

    def create(self, data: bytes) -> Version | None:
        """Put an object unless there is one already; return its version, or None where there is one."""
        return self._put_if("create", data)

    def replace(self, data: bytes, version: Version) -> Version | None:
        """Put an object in place of a version of it; return the new one, or None where it has changed or is gone.

        Raises StorageError where the store has no conditional writes.
        """
        return self._put_if(version.condition, data)

    def _put_if(self, mode: Literal["create"] | UpdateVersion, data: bytes) -> Version | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            put = self._ask(lambda store: obstore.put(store, self.key, data, mode=mode))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return None
        return Version(put["e_tag"], put["version"])

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """Open the object for reading, by ranges."""
        import obstore

        assert mode == "rb"
        return _Readable(self._ask(lambda store: obstore.open_reader(store, self.key)))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders are there as soon as something is in them."""

    def unlink(self, *, missing_ok: bool = True) -> None:
        """Delete the object; of one that is not there S3 says nothing, and other stores do."""
        import obstore

        try:
            ask_to_delete(self.root, self.key, lambda store: obstore.delete(store, self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Delete every object below, and the empty ones that stand for folders."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for level in pages.keys_below(self.root, self.key):  # Azure may have real folders: the deepest first
                list(pool.map(self._delete_keys, _requests(self.root, [key for key in level if key != self.key])))
        if self.root.startswith(_MARKING) and pages.keys_below(self.root, self.key):
            self._remove_marks()

    def _delete_keys(self, keys: list[str]) -> None:
        import obstore

        if len(keys) == 1:
            ObjectPath(self.root, keys[0]).unlink()
        else:
            ask_to_delete(self.root, self.key, lambda store: obstore.delete(store, keys))

    def _remove_marks(self) -> None:
        """Delete what is left: keys that end in a slash, which other tools write and obstore cannot name.

        By pyarrow, which leaves such a key for the folder above: so not where there are none.
        """
        import pyarrow as pa

        scheme, _, bucket = self.root.partition("://")
        store = s3.file_system() if scheme == "s3a" else gcs.file_system()
        try:
            store.delete_dir(f"{bucket}/{self.key}")
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowException) as error:
            raise failure(str(self), error) from None

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object within its bucket."""
        import obstore

        self._ask(lambda store: obstore.copy(store, self.key, target.key))

    def copy_tree(self, target: ObjectPath, *, last: str) -> None:
        """Copy every object below to `target` in the same bucket; the one named `last` after all others."""
        names = [found.key.removeprefix(f"{self.key}/") for found in self.walk()]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            first = (name for name in names if name != last)
            list(pool.map(lambda name: (self / name).copy_to(target / name), first))
        if last in names:
            (self / last).copy_to(target / last)

    def _ask(self, request: Callable[[ObjectStore], T]) -> T:
        return ask(self.root, self.key, request)


def _is_same_bucket(one: str, other: str) -> bool:
    """Return whether two roots may name the same bucket: az://CONTAINER leaves its account to the environment."""
    schemes, buckets = zip(*(root.split("://") for root in (one, other)), strict=True)
    if not all(scheme in _AZURE for scheme in schemes):
        return one == other
    containers, _, accounts = zip(*(bucket.partition("@") for bucket in buckets), strict=True)
    return len(set(containers)) == 1 and len(set(filter(None, accounts))) <= 1


def _requests(root: str, keys: list[str]) -> list[list[str]]:
    """Return keys in groups of what one request deletes: many on S3, one elsewhere."""
    n_each = _KEYS_A_REQUEST if root.startswith("s3a://") else 1
    return [keys[start : start + n_each] for start in range(0, len(keys), n_each)]


class _Readable(io.BufferedIOBase):
    """obstore's reader as Python's own, which pyarrow reads from."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, size: int | None = -1, /) -> bytes:
        return bytes(self._reader.read(None if size is None or size < 0 else size))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def object_path(uri: str) -> ObjectPath | None:
    """Return the place that an object store's URI names; None for any other text."""
    match = _URI.match(uri)
    if match is None:
        return None
    scheme, bucket, key = match.groups()
    scheme = "s3a" if scheme.lower() in _S3 else scheme.lower()
    return ObjectPath(f"{scheme}://{bucket}", key.strip("/"))
