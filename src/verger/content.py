"""The bytes of photos, from files and object stores."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from verger.errors import DecodeError, Reason, StorageError
from verger.objects import object_path
from verger.uri import is_local, to_local

Content = bytes | DecodeError

# Photos asked of an object store at a time: an answer takes ten times as long as a photo's features.
_AHEAD = 16


def read_photo(uri: str) -> bytes:
    """Return the bytes of a file or object, or raise DecodeError saying why they cannot be had.

    A store that fails, and not the photo, is a StorageError: asked again later it may well have it.
    """
    try:
        remote = object_path(uri)
        if remote is not None:
            return remote.read_bytes()
        if not is_local(uri):
            raise ValueError("neither a file nor in a store that verger knows")
        with open(to_local(uri), "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise DecodeError(Reason.UNREADABLE, f"{type(error).__name__}: {words}"[:500]) from error
    except StorageError as error:
        if not error.is_refusal:
            raise
        raise DecodeError(Reason.UNREADABLE, str(error)) from error


def read_photos(uris: Sequence[str | None]) -> Iterator[Content]:
    """Yield the bytes of each photo, or why they cannot be had, in order.

    Of an object store some are asked for ahead, since it takes its time to answer.
    """
    if all(uri is None or is_local(uri) for uri in uris):
        yield from map(_read_or_say, uris)
        return
    reading: deque[Future[Content]] = deque()
    for uri in uris:
        reading.append(_readers().submit(_read_or_say, uri))
        if len(reading) >= _AHEAD:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


@functools.cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AHEAD, thread_name_prefix="verger-read")


def _read_or_say(uri: str | None) -> Content:
    try:
        if uri is None:
            raise DecodeError(Reason.UNREADABLE, "the path is null")
        return read_photo(uri)
    except DecodeError as error:
        return error
