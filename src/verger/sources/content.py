"""Reading photos' bytes from files and object stores."""

from __future__ import annotations

import functools
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from verger.errors import DecodeError, Reason, StorageError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, check_file_size
from verger.storage.objects import listed_object
from verger.storage.uri import is_local, local_file

Content = bytes | DecodeError
# A function from a path or URI to the bytes; raises DecodeError.
Read = Callable[[str], bytes]

# Number of photos requested from an object store at the same time. A request takes ten times as long as computing
# the photo's features.
_AHEAD = 16

# The size of further reads, if the first read does not reach the end of a file.
_READ_BYTES = 1 << 20


def read_photo(uri: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return the bytes of a file or object.

    Raises DecodeError if this photo cannot be read, or if the file is too large for a photo of `max_pixels`; a file
    that is too large is not read. Raises StorageError if the store itself fails; a later attempt may then succeed.
    """
    try:
        remote = listed_object(uri)
        if remote is not None:
            return remote.read_bytes(partial(check_file_size, max_pixels=max_pixels))
        if not is_local(uri):
            raise ValueError("the path is neither a local file nor in a supported object store")
        return _read_file(local_file(uri), max_pixels)
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "reading it takes more memory than there is") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise DecodeError(Reason.UNREADABLE, f"{type(error).__name__}: {cause}"[:500]) from error
    except StorageError as error:
        if not (error.is_refusal or error.is_invalid_key or is_local(uri)):  # local: the URI names another host
            raise
        raise DecodeError(Reason.UNREADABLE, str(error)) from error


def _read_file(path: str, max_pixels: int) -> bytes:
    """Return the bytes of a regular file; raises DecodeError for others, as reading a pipe might never end."""
    _check_is_regular(path, os.stat(path).st_mode)
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        _check_is_regular(path, status.st_mode)  # the path may now be that of another file
        check_file_size(status.st_size, max_pixels)
        parts = [os.read(descriptor, status.st_size + 1)]
        n_bytes = len(parts[0])
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
            n_bytes += len(part)
            check_file_size(n_bytes, max_pixels)  # a file may grow, and some file systems report a size of zero
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """Open a file for reading, without waiting for the writer of a pipe; return the file descriptor."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except BlockingIOError:  # a file server has leased the file to a client: wait until the client returns it
        return os.open(path, flags)
    # O_NONBLOCK was needed only for opening the file; some network file systems also apply it to reading.
    os.set_blocking(descriptor, True)
    return descriptor


def _check_is_regular(path: str, mode: int) -> None:
    """Raise DecodeError for a folder, pipe, socket or device.

    A listing contains the folders that could not be listed; for such a folder the error's detail is the cause.
    """
    if stat.S_ISREG(mode):
        return
    detail = "not a regular file"
    if stat.S_ISDIR(mode):
        detail = "not a regular file but a folder"
        try:
            os.scandir(path).close()
        except OSError as error:
            detail = f"cannot list the folder: {error.strerror}"
    raise DecodeError(Reason.UNREADABLE, detail)


def read_photos(
    uris: Sequence[str | None], max_pixels: int = DEFAULT_MAX_PIXELS, read_local: Read | None = None
) -> Iterator[Content]:
    """Yield each photo's bytes, or the DecodeError of `read_photo`, in order.

    Several photos in an object store are requested in advance, because each request is slow. A local file is read
    only when it is needed, by `read_local` (default: `read_photo`).
    """
    read = partial(read_photo, max_pixels=max_pixels)
    waiting: deque[Callable[[], Content]] = deque()
    for uri in uris:
        if uri is None or is_local(uri):
            waiting.append(partial(_read_or_error, uri, read_local or read))
        else:
            waiting.append(_thread_pool().submit(_read_or_error, uri, read).result)
        if len(waiting) >= _AHEAD:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


@functools.cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AHEAD, thread_name_prefix="verger-read")


def _read_or_error(uri: str | None, read: Read) -> Content:
    try:
        if uri is None:
            raise DecodeError(Reason.UNREADABLE, "the path is null")
        return read(uri)
    except DecodeError as error:
        return error
