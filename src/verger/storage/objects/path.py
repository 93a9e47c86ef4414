"""ObjectPath: an object or a folder of an object store, with the methods of pathlib.Path that verger uses.

So the same code works with results and sources on this machine and in a store. Endpoint, region and credentials are
found in the same places as by the stores' own tools (AWS_ENDPOINT_URL, AWS_PROFILE, an instance's role, application
default credentials). If a request fails in the store or in the network, it is repeated for up to a minute.
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

from verger.errors import StorageError
from verger.storage.objects import pages
from verger.storage.objects.deletion import delete_object, delete_tree
from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.objects.stores import T, send_request

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

SCHEMES = ("s3a", "s3", "s3n", "gs", "abfss", "abfs", "az")
_S3 = ("s3a", "s3", "s3n")
_AZURE = ("abfss", "abfs", "az")
_URI = re.compile(rf"^({'|'.join(SCHEMES)})://([^/]+)(?:/(.*))?$", re.IGNORECASE | re.DOTALL)

_N_COPIES_AT_A_TIME = 16


@dataclass(frozen=True)
class Version:
    """Version of an object's content: e-tag (S3, Azure) and generation (Cloud Storage)."""

    e_tag: str | None
    generation: str | None

    @property
    def condition(self) -> UpdateVersion:
        """The argument with which obstore writes only if the object still has this version."""
        condition: UpdateVersion = {}
        if self.e_tag is not None:
            condition["e_tag"] = self.e_tag
        if self.generation is not None:
            condition["version"] = self.generation
        return condition


@dataclass(frozen=True, order=True)
class ObjectPath:
    """Path in an object store: `root` is scheme://bucket, `key` has no slash at either end."""

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
        """The folder that contains this path; the parent of a bucket is the bucket itself."""
        return ObjectPath(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """Return the path of another object or folder, with this name, in the same folder."""
        return self.parent / name

    def is_within(self, folder: ObjectPath) -> bool:
        """Return whether the path is `folder` or lies in `folder`."""
        return _is_same_bucket(self.root, folder.root) and f"{self.key}/".startswith(f"{folder.key}/".lstrip("/"))

    def is_file(self) -> bool:
        """Return whether there is an object with this key."""
        try:
            self.find()
        except FileNotFoundError:
            return False
        return True

    def size(self) -> int:
        """Return the size in bytes; raises FileNotFoundError if there is no object."""
        return self.find().length

    def find(self) -> ObjectInfo:
        """Return key, size and time of the object; raises FileNotFoundError if there is none."""
        return pages.find(self.root, self.key)

    def is_dir(self) -> bool:
        """Return whether there are objects below this path: an object store has no empty folders."""
        return not pages.is_empty(self.root, self.key)

    def exists(self) -> bool:
        """Return whether this path is an object, or a folder that contains objects."""
        return self.is_dir() or self.is_file()

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the objects and folders directly in this folder, in the order of their names."""
        files, folders = self.children()
        for key in sorted({file.key for file in files} | {folder.key for folder in folders}):
            yield ObjectPath(self.root, key)

    def children(self) -> tuple[list[ObjectInfo], list[ObjectPath]]:
        """Return the objects and the folders directly in this folder, both in the order of their names."""
        files, folders = pages.children(self.root, self.key)
        return files, [ObjectPath(self.root, key) for key in folders]

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield the objects and folders directly in this folder whose names match the pattern."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def walk(self) -> Iterator[ObjectInfo]:
        """Yield every object below this path, in the order of their keys."""
        return pages.walk(self.root, self.key)

    def read_bytes(self, check: Callable[[int], None] | None = None) -> bytes:
        """Return the object's bytes; raises FileNotFoundError if there is no object.

        check: called with the size before the bytes are read; it may raise an error to stop.
        """
        import obstore

        def read(store: ObjectStore) -> bytes:
            answer = obstore.get(store, self.key)
            if check is not None:
                check(answer.meta["size"])
            return bytes(answer.bytes())

        return self._send(read)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the object; a reader never sees an incomplete object."""
        import obstore

        self._send(lambda store: obstore.put(store, self.key, data))

    def write_file(self, file: Path) -> None:
        """Upload a local file, in several parts if it is large; a reader never sees an incomplete object."""
        import obstore

        self._send(lambda store: obstore.put(store, self.key, file))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a text as the object."""
        self.write_bytes(text.encode(encoding))

    def read_version(self) -> tuple[bytes, Version]:
        """Return the object's bytes and version; raises FileNotFoundError if there is no object."""
        import obstore

        def read(store: ObjectStore) -> tuple[bytes, Version]:
            answer = obstore.get(store, self.key)
            return bytes(answer.bytes()), Version(answer.meta["e_tag"], answer.meta["version"])

        return self._send(read)

    def create(self, data: bytes) -> Version | None:
        """Create the object and return its version; return None if the object already exists."""
        return self._put_if("create", data)

    def replace(self, data: bytes, version: Version) -> Version | None:
        """Replace the object if it still has this version, and return the new version.

        Return None if the object was changed or deleted. Raises StorageError if the store has no conditional write.
        """
        return self._put_if(version.condition, data)

    def _put_if(self, mode: Literal["create"] | UpdateVersion, data: bytes) -> Version | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            put = self._send(lambda store: obstore.put(store, self.key, data, mode=mode))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return None
        return Version(put["e_tag"], put["version"])

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """Open the object for reading and seeking, without downloading all of it."""
        import obstore

        assert mode == "rb"
        return _Readable(self._send(lambda store: obstore.open_reader(store, self.key)))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder exists as soon as an object is in it."""

    def unlink(self, *, missing_ok: bool = True) -> None:
        """Delete the object. Unless `missing_ok`, raises FileNotFoundError if it is missing (but not on S3)."""
        try:
            delete_object(self.root, self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Delete every object below this path, and the empty objects that mark folders."""
        delete_tree(self.root, self.key)

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object within its bucket."""
        import obstore

        self._send(lambda store: obstore.copy(store, self.key, target.key))

    def copy_tree(self, target: ObjectPath, *, last: str) -> None:
        """Copy every object below this path to `target` in the same bucket; the object named `last` comes last."""
        names = [file.key.removeprefix(f"{self.key}/") for file in self.walk()]
        with ThreadPoolExecutor(_N_COPIES_AT_A_TIME) as pool:
            first = (name for name in names if name != last)
            list(pool.map(lambda name: (self / name).copy_to(target / name), first))
        if last in names:
            (self / last).copy_to(target / last)

    def _send(self, request: Callable[[ObjectStore], T]) -> T:
        return send_request(self.root, self.key, request)


def _is_same_bucket(one: str, other: str) -> bool:
    """Return whether two roots may name the same bucket. A root az://CONTAINER has the environment's account."""
    schemes, buckets = zip(*(root.split("://") for root in (one, other)), strict=True)
    if not all(scheme in _AZURE for scheme in schemes):
        return one == other
    containers, _, accounts = zip(*(bucket.partition("@") for bucket in buckets), strict=True)
    return len(set(containers)) == 1 and len(set(filter(None, accounts))) <= 1


class _Readable(io.BufferedIOBase):
    """Adapts obstore's reader to Python's file interface, because pyarrow needs this interface."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, size: int | None = -1, /) -> bytes:
        return bytes(self._reader.read(None if size is None or size < 0 else size))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._reader.seek(offset, whence))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def object_path(uri: str) -> ObjectPath | None:
    """Return the path of an object store's URI, without slashes around the key; None for any other text."""
    match = _URI.match(uri)
    if match is None:
        return None
    scheme, bucket, key = match.groups()
    scheme = "s3a" if scheme.lower() in _S3 else scheme.lower()
    return ObjectPath(f"{scheme}://{bucket}", (key or "").strip("/"))


def listed_object(uri: str) -> ObjectPath | None:
    """Return the path of an object from its URI in a table, where s3a://bucket//x.jpg is not s3a://bucket/x.jpg.

    Returns None for any other text. Raises StorageError for a key that begins with a slash: obstore removes this
    slash and would use the other object.
    """
    match = _URI.match(uri)
    if match is not None and (match[3] or "").startswith("/"):
        raise StorageError(
            f"{uri}: the key begins with a slash, which obstore removes: rename the object, or remove the slash if "
            "the URI is wrong",
            is_invalid_key=True,
        )
    return object_path(uri)
