"""Object stores as folders and files: s3a://, gs:// and abfss:// URIs, by obstore.

`ObjectPath` answers to the part of pathlib's interface that verger needs, so that results and sources are read
and written by the same code wherever they lie. Endpoint, region and credentials come from where the stores' own
tools take them (AWS_ENDPOINT_URL, AWS_PROFILE, an instance's role, application default credentials); a request
that a store or the network lets down is made again for a minute.
"""

from __future__ import annotations

import configparser
import functools
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from verger.errors import SetupError, StorageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

SCHEMES = ("s3a", "s3", "s3n", "gs", "abfss", "abfs")
_S3 = ("s3a", "s3", "s3n")
_URI = re.compile(rf"^({'|'.join(SCHEMES)})://([^/]+)/*(.*)$", re.IGNORECASE | re.DOTALL)

_INSTANCE_METADATA = "169.254.169.254"

_RETRIES = 10
_RETRY_FOR = timedelta(seconds=60)
_SILENCE = timedelta(seconds=20)  # a store that says nothing for so long is asked again
_BROKEN_OFF = "body error"
_AT_A_TIME = 16
_PAGE = 1000


class Found(NamedTuple):
    """An object: its key, bytes, and time of its last change in microseconds since 1970."""

    key: str
    length: int
    modified_us: int


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

    def is_file(self) -> bool:
        """Tell whether there is an object of this key."""
        try:
            self.size()
        except FileNotFoundError:
            return False
        return True

    def size(self) -> int:
        """Return the object's bytes; FileNotFoundError where there is none."""
        import obstore

        return int(_ask(self, lambda store: obstore.head(store, self.key))["size"])

    def is_dir(self) -> bool:
        """Tell whether there are objects below: an object store has no empty folders."""
        return next(self.walk(page=1), None) is not None

    def exists(self) -> bool:
        """Tell whether it is an object, or a folder of some."""
        return self.is_dir() or self.is_file()

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the objects and folders in this one, in the order of their names."""
        files, folders = self.children()
        for key in sorted({found.key for found in files} | {folder.key for folder in folders}):
            yield ObjectPath(self.root, key)

    def children(self) -> tuple[list[Found], list[ObjectPath]]:
        """Return the objects and the folders directly in this one, each in the order of their names."""
        import obstore

        listed = _ask_for_list(self, lambda store: obstore.list_with_delimiter(store, self._prefix))
        files = sorted(_found(entry) for entry in listed["objects"] if entry["path"] != self.key)
        return files, [ObjectPath(self.root, key.strip("/")) for key in sorted(listed["common_prefixes"])]

    @property
    def _prefix(self) -> str | None:
        return f"{self.key}/" if self.key else None

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what is directly in this folder and has a name of the pattern."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def walk(self, page: int = _PAGE) -> Iterator[Found]:
        """Yield every object below, in the order of the keys; a request for each page of a thousand."""
        last: Found | None = None
        for found in self._pages(page):
            # The empty objects that stand for folders (their names end in a slash) are not ours to see.
            if last is not None and (last.length or not found.key.startswith(f"{last.key}/")):
                yield last
            last = found if found.key != self.key else None
        if last is not None:
            yield last

    def _pages(self, page: int) -> Iterator[Found]:
        import obstore

        pages: Any = None
        last: str | None = None

        def ask(store: ObjectStore) -> Any:
            nonlocal pages
            asked = pages or obstore.list(store, self._prefix, offset=last, chunk_size=page)
            pages = None  # one that fails has ended
            chunk = next(asked, None)
            pages = asked
            return chunk

        while chunk := _ask_for_list(self, ask):
            # A folder's own object comes again where its page is the last before a failure.
            yield from (found for found in map(_found, chunk) if found.key != last)
            last = chunk[-1]["path"]

    def read_bytes(self) -> bytes:
        """Return the object's bytes; FileNotFoundError where there is none."""
        import obstore

        return bytes(_ask(self, lambda store: obstore.get(store, self.key).bytes()))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Put an object: a reader sees all of it or none."""
        import obstore

        _ask(self, lambda store: obstore.put(store, self.key, data))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Put an object of text."""
        self.write_bytes(text.encode(encoding))

    def create(self, data: bytes) -> bool:
        """Put an object unless there is one already; tell whether it was put."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            _ask(self, lambda store: obstore.put(store, self.key, data, mode="create"))
        except AlreadyExistsError:
            return False
        return True

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """Open the object for reading, by ranges."""
        import obstore

        assert mode == "rb"
        return _Readable(_ask(self, lambda store: obstore.open_reader(store, self.key)))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders are there as soon as something is in them."""

    def unlink(self, *, missing_ok: bool = True) -> None:
        """Delete the object."""
        import obstore

        _ask(self, lambda store: obstore.delete(store, [self.key]))

    def remove_tree(self) -> None:
        """Delete every object below, and those that Spark's connectors leave to stand for folders."""
        from pyarrow import fs

        scheme, _, bucket = self.root.partition("://")
        if scheme == "s3a":
            endpoint = s3_endpoint()
            kind = "http" if (endpoint or "").startswith("http://") else "https"
            store = fs.S3FileSystem(region=s3_region(), endpoint_override=endpoint, scheme=kind)
            folder = f"{bucket}/{self.key}"
        else:
            store, folder = fs.FileSystem.from_uri(str(self))
        try:
            store.delete_dir(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{self}: {_words(error)}") from None

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object within its bucket."""
        import obstore

        _ask(self, lambda store: obstore.copy(store, self.key, target.key))

    def copy_tree(self, target: ObjectPath, *, last: str) -> None:
        """Copy every object below to `target` in the same bucket; the one named `last` after all others."""
        names = [found.key.removeprefix(f"{self.key}/") for found in self.walk()]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            first = (name for name in names if name != last)
            list(pool.map(lambda name: (self / name).copy_to(target / name), first))
        if last in names:
            (self / last).copy_to(target / last)


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


def _found(entry: Any) -> Found:
    return Found(entry["path"], entry["size"], int(entry["last_modified"].timestamp() * 1000) * 1000)


def _ask(path: ObjectPath, request: Any) -> Any:
    """Make a request; what goes wrong comes out as FileNotFoundError or StorageError."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        return request(_store(path.root))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such object") from None
    except AlreadyExistsError:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageError(f"{path}: {_refusal(error)}; {_who(path.root)}", is_refusal=True) from None
    except BaseError as error:
        raise StorageError(f"{path}: {_words(error)}") from None


def _ask_for_list(path: ObjectPath, request: Any) -> Any:
    """Make a request for a list, again where its answer breaks off: obstore does so for objects alone."""
    for _ in range(_RETRIES):
        try:
            return _ask(path, request)
        except StorageError as error:
            if _BROKEN_OFF not in str(error):
                raise
    return _ask(path, request)


def _refusal(error: Exception) -> str:
    return f"access is refused{_code(error)}"


def _code(error: Exception) -> str:
    """Return the store's own word for an error, in brackets, or nothing."""
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return f" ({code.group(1)})" if code else ""


def _words(error: Exception) -> str:
    """The first sentence: what follows may hold whole answers of the store, keys among them."""
    if _INSTANCE_METADATA in str(error):
        return "no credentials: AWS_ACCESS_KEY_ID and its kin are not set, nor AWS_PROFILE, and this is no instance"
    said = re.sub(r"\s+", " ", str(error).split("\n\nDebug source")[0].split("<?xml")[0])
    return f"{said[:300].strip(' :')}{_code(error)}"


def _who(root: str) -> str:
    if not root.startswith("s3a:"):
        return "the store's usual credentials are used"
    name = os.environ.get("AWS_PROFILE")
    return f"AWS_PROFILE is {name}" if name else "credentials: environment, AWS profile or instance role"


@functools.lru_cache(maxsize=32)
def _store(root: str) -> ObjectStore:
    from obstore.store import from_url

    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR}
    client: ClientConfig = {"read_timeout": _SILENCE, "connect_timeout": _SILENCE, "timeout": timedelta(minutes=10)}
    if not root.startswith("s3a:"):
        return from_url(root, retry_config=retries, client_options=client)
    endpoint = s3_endpoint()
    config: S3Config = {"region": s3_region()}
    if endpoint:
        config["endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    return from_url(
        root,
        config=config,
        retry_config=retries,
        client_options=client,
        credential_provider=_profile_credentials(),
    )


def s3_endpoint() -> str | None:
    """Return the endpoint where it is not Amazon's own."""
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or _profile().get("endpoint_url")
    )


def s3_region() -> str:
    """Return the region: of the environment, the profile, else us-east-1 as Amazon's own tools have it."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _profile().get("region")
    return named or "us-east-1"


def _profile() -> dict[str, str]:
    """Return the settings of the AWS profile."""
    name = os.environ.get("AWS_PROFILE", "default")
    file = configparser.RawConfigParser()
    file.read(os.environ.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config")
    section = "default" if name == "default" else f"profile {name}"
    return dict(file[section]) if file.has_section(section) else {}


def _profile_credentials() -> Any:
    """Return what asks boto3, the one who knows profiles; None where there is no profile to know."""
    has_profile = "AWS_PROFILE" in os.environ or (Path.home() / ".aws" / "credentials").is_file()
    if "AWS_ACCESS_KEY_ID" in os.environ or not has_profile:
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise SetupError("AWS profiles need boto3: pip install 'verger[aws]'") from error
    return Boto3CredentialProvider()
