"""The bytes of photos, from files and object stores."""

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

# Photos asked of an object store at a time: an answer takes ten times as long as a photo's features.
_AHEAD = 16


def read_photo(uri: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return the bytes of a file or object, or raise DecodeError saying why they cannot be had.

    Nothing is read of one that has too many bytes for a photo of `max_pixels`. A store that fails, and not the
    photo, is a StorageError: asked again later it may well have it.
    """
    try:
        remote = object_path(uri)
        if remote is not None:
            return remote.read_bytes(partial(check_file_size, max_pixels=max_pixels))
        if not is_local(uri):
            raise ValueError("neither a file nor in a store that verger knows")
        return _read_file(to_local(uri), max_pixels)
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "reading it takes more memory than there is") from error
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise DecodeError(Reason.UNREADABLE, f"{type(error).__name__}: {words}"[:500]) from error
    except StorageError as error:
        if not error.is_refusal:
            raise
        raise DecodeError(Reason.UNREADABLE, str(error)) from error


def _read_file(path: str, max_pixels: int) -> bytes:
    """Return the bytes of a file; a pipe or a device has no end that is known."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    check_file_size(status.st_size, max_pixels)
    with open(path, "rb") as file:
        return file.read()


def read_photos(uris: Sequence[str | None], max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Content]:
    """Yield the bytes of each photo, or why they cannot be had, in order; see `read_photo`.

    Of an object store some are asked for ahead, since it takes its time to answer.
    """
    if all(uri is None or is_local(uri) for uri in uris):
        for uri in uris:
            yield _read_or_say(uri, max_pixels)
        return
    reading: deque[Future[Content]] = deque()
    for uri in uris:
        reading.append(_readers().submit(_read_or_say, uri, max_pixels))
        if len(reading) >= _AHEAD:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


@functools.cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AHEAD, thread_name_prefix="verger-read")


def _read_or_say(uri: str | None, max_pixels: int) -> Content:
    try:
        if uri is None:
            raise DecodeError(Reason.UNREADABLE, "the path is null")
        return read_photo(uri, max_pixels)
    except DecodeError as error:
        return error
