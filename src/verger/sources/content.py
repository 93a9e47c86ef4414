"""Reading photos' bytes from files and object stores."""

from __future__ import annotations

import functools
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from verger.errors import DecodeError, Reason, StorageError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, check_file_size
from verger.storage.objects import object_path
from verger.storage.uri import is_local, to_local

Content = bytes | DecodeError

# Photos requested from an object store at the same time: a request takes ten times as long as computing the
# features.
_AHEAD = 16


def read_photo(uri: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return the bytes of a file or object.

    Raises DecodeError if this photo cannot be read, or if the file is too large for a photo of `max_pixels` (such a
    file is not read). Raises StorageError if the store itself fails; then a later attempt may succeed.
    """
    try:
        remote = object_path(uri)
        if remote is not None:
            return remote.read_bytes(partial(check_file_size, max_pixels=max_pixels))
        if not is_local(uri):
            raise ValueError("the path is neither a local file nor in a supported object store")
        return _read_file(to_local(uri), max_pixels)
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "reading it takes more memory than there is") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise DecodeError(Reason.UNREADABLE, f"{type(error).__name__}: {cause}"[:500]) from error
    except StorageError as error:
        if not (error.is_refusal or error.is_invalid_key):
            raise
        raise DecodeError(Reason.UNREADABLE, str(error)) from error


def _read_file(path: str, max_pixels: int) -> bytes:
    """Return the bytes of a regular file; reading a pipe or a device might never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    check_file_size(status.st_size, max_pixels)
    with open(path, "rb") as file:
        return file.read()


def read_photos(uris: Sequence[str | None], max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Content]:
    """Yield each photo's bytes, or the DecodeError of `read_photo`, in order.

    Photos in an object store are requested ahead, several at a time, because each request is slow.
    """
    if all(uri is None or is_local(uri) for uri in uris):
        for uri in uris:
            yield _read_or_error(uri, max_pixels)
        return
    reading: deque[Future[Content]] = deque()
    for uri in uris:
        reading.append(_thread_pool().submit(_read_or_error, uri, max_pixels))
        if len(reading) >= _AHEAD:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


@functools.cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AHEAD, thread_name_prefix="verger-read")


def _read_or_error(uri: str | None, max_pixels: int) -> Content:
    try:
        if uri is None:
            raise DecodeError(Reason.UNREADABLE, "the path is null")
        return read_photo(uri, max_pixels)
    except DecodeError as error:
        return error
