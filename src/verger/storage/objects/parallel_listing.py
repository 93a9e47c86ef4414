"""List very many objects with several requests at a time, and yield them in the order of their keys.

A store lists a thousand keys per request, and the next request needs the last key of the answer. So a million
objects would need a thousand requests, one after the other. But a listing may start after any key. So this module
splits the remaining keys into ranges, and lists several ranges at the same time:

    first page | range 1 ------> | range 2 ---> | range 3 ------> | ...      each requests page after page
               start        stop=start     stop=start        stop=start

1. `_Ranges.begin` splits the keys after the first page into ranges.
2. `_Ranges.split` splits the widest range, until _AT_A_TIME unfinished ranges exist. `key_space` guesses the key in
   the middle. A bad guess costs one request, but the answer makes the next guess better.
3. `_Ranges.request` requests the next page of each range. `_Ranges.receive` stores the pages that have arrived,
   in a temporary file if they do not fit into memory.
4. `_Ranges.finished_objects` yields the objects of the first range and, when this range ends, those of the next.

This works only with a store that lists in the order of the keys' bytes. Two checks detect other stores: the keys of
a range must ascend; and if the listing of a range continues after the end of the range, the first key there must be
the first key of the next range. If a check fails, all objects are listed again page by page.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import takewhile
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from verger.storage.objects.key_space import KeySpace

logger = logging.getLogger(__name__)

_AT_A_TIME = 16
_BYTES_IN_MEMORY = 4 << 20


class ObjectInfo(NamedTuple):
    """Key of an object, its size in bytes, and the time of its last change in microseconds since 1970."""

    key: str
    length: int
    modified_us: int


Page = list[ObjectInfo]


class _OrderError(Exception):
    """Raised if the store does not list in the order of the keys' bytes."""


def list_ranges(
    prefix: str, open_after: Callable[[str | None], Iterator[Page]], page_size: int
) -> Iterator[ObjectInfo]:
    """Yield the objects below a prefix in the order of the keys, or in the store's order if that is different.

    open_after: function that returns the pages after a key, or all pages for None. A page has `page_size` objects;
    only the last page may have fewer.
    """
    pages = open_after(None)
    first = next(pages, [])
    yield from first
    if len(first) < page_size:
        return
    with ThreadPoolExecutor(_AT_A_TIME) as pool, SpooledTemporaryFile(_BYTES_IN_MEMORY) as spool:
        ranges = _Ranges(prefix, open_after, page_size, spool)
        try:
            ranges.begin(pages, first)
            while ranges.parts:
                ranges.split()
                ranges.request(pool)
                ranges.receive()
                yield from ranges.finished_objects()
            return
        except _OrderError:
            logger.info("%s: the store does not list in the order of the keys; listing again page by page", prefix)
            yielded = {info.key for info in first} | ranges.yielded_keys()
    for page in open_after(None):
        yield from (info for info in page if info.key not in yielded)


def _last_in_order(last: str, page: Page) -> str:
    """Return the last key of a page; the page follows the key `last`. Raises _OrderError if keys descend."""
    for info in page:
        key = key_in_order(last, info)
        if key is None:
            raise _OrderError
        last = key
    return last


def key_in_order(last: str, info: ObjectInfo) -> str | None:
    """Return the key of an object that is listed after the key `last`; None if this is not the order of the keys.

    obstore returns the mark of a folder, a/b/, as an empty object a/b. The store sorts this mark after a/b.jpg.
    """
    if info.key > last:
        return info.key
    return f"{info.key}/" if not info.length and f"{info.key}/" >= last else None


class _Range:
    """The keys after `start`, up to and including `stop` (None: no end). seen: the last key listed so far."""

    def __init__(self, pages: Iterator[Page], start: str, stop: str | None) -> None:
        self.pages, self.start, self.stop = pages, start, stop
        self.seen = start
        self.last = ""  # last key that `pages` has listed; it may lie after `stop`
        self.first: str | None = None  # first key in this range
        self.beyond: str | None = None  # first key after `stop` that `pages` has listed
        self.is_done = False
        self.may_split = False  # True if the last page was full: there are probably more keys
        self.starts_as_requested = True  # False if the store ignores `start` and lists from the first of all keys
        self.request: Future[Page] | None = None
        self.spooled: list[int] = []  # positions of the range's pages in the temporary file

    def receive(self, page_size: int) -> Page:
        """Return the objects of the answer that are in this range; raises _OrderError."""
        assert self.request is not None
        answer, self.request = self.request.result(), None
        self.last = _last_in_order(self.last, answer)
        self.starts_as_requested &= len(answer) < page_size or answer[-1].key > self.start
        page = list(takewhile(lambda info: self.stop is None or info.key <= self.stop, answer))
        self.may_split = len(page) == page_size
        self.is_done = not self.may_split
        if len(page) < len(answer):
            self.beyond = answer[len(page)].key
        # Not the last key: a folder's mark arrives without its slash, and may then sort before its neighbours.
        self.seen = max([self.seen, *(info.key for info in page)])
        kept = [info for info in page if info.key > self.start]
        if kept and self.first is None:
            self.first = kept[0].key
        return kept


class _Ranges:
    """The ranges whose objects are not yet all yielded, in the order of keys. spool: file with their pages."""

    def __init__(
        self, prefix: str, open_after: Callable[[str | None], Iterator[Page]], page_size: int, spool: IO[bytes]
    ) -> None:
        self.parts: list[_Range] = []
        self._spool = spool
        self._key_space = KeySpace(prefix)
        self._open_after = open_after
        self._page_size = page_size
        self._yielded: list[int] = []  # positions of pages in the spool
        self._expected: str | None = None  # the first key that the next range must have

    def begin(self, pages: Iterator[Page], first: Page) -> None:
        """Split the keys after the first page into ranges, guessed from keys of that page; raises _OrderError."""
        keys = [info.key for info in first]
        edges = self._key_space.edges(keys)
        self._key_space.learn([*keys, *edges])
        self.parts = [_Range(pages, max(keys), None)]
        self.parts[0].last = _last_in_order("", first)
        self.parts[0].may_split = True
        for edge in edges:
            if edge > self.parts[-1].seen:
                self._split_at(edge, self.parts[-1])

    def split(self) -> None:
        """Split the widest range, until there are enough ranges to list at the same time.

        Do nothing if the store ignores the key after which a listing shall start: then every range would list all
        earlier keys too.
        """
        if not all(part.starts_as_requested for part in self.parts):
            return
        while sum(not part.is_done for part in self.parts) < _AT_A_TIME:
            candidates = [part for part in self.parts if part.may_split]
            if not candidates:
                return
            widest = max(candidates, key=lambda part: self._key_space.width(part.seen, part.stop))
            middle = self._key_space.middle(widest.seen, widest.stop)
            if middle is None:
                widest.may_split = False
            else:
                self._split_at(middle, widest)

    def _split_at(self, key: str, part: _Range) -> None:
        self.parts.insert(self.parts.index(part) + 1, _Range(self._open_after(key), key, part.stop))
        part.stop = key

    def request(self, pool: ThreadPoolExecutor) -> None:
        """Request the next page of each range, and wait for the first answer."""
        unfinished = [part for part in self.parts if not part.is_done]
        for part in unfinished:
            part.request = part.request or pool.submit(next, part.pages, [])
        wait([part.request for part in unfinished if part.request], return_when=FIRST_COMPLETED)

    def receive(self) -> None:
        """Append the pages that have arrived to the spool; raises _OrderError."""
        for part in self.parts:
            if part.request is None or not part.request.done():
                continue
            if page := part.receive(self._page_size):
                self._key_space.learn([part.seen])
                part.spooled.append(self._spool.seek(0, 2))
                pickle.dump(page, self._spool)

    def finished_objects(self) -> Iterator[ObjectInfo]:
        """Yield the stored objects before the first missing page; drop finished ranges; raises _OrderError."""
        while self.parts:
            first = self.parts[0]
            for position in first.spooled:
                self._yielded.append(position)
                yield from self._read_page(position)
            first.spooled.clear()
            if not first.is_done:
                return
            self._check_seam(self.parts.pop(0))

    def _check_seam(self, part: _Range) -> None:
        """Raise _OrderError if the listing of the range before `part` continued with another key than `part`."""
        if self._expected is not None and self._expected != (part.first or part.beyond):
            raise _OrderError
        self._expected = part.beyond

    def yielded_keys(self) -> set[str]:
        """Return the keys that `finished_objects` has yielded."""
        return {info.key for position in self._yielded for info in self._read_page(position)}

    def _read_page(self, position: int) -> Page:
        self._spool.seek(position)
        page: Page = pickle.load(self._spool)  # noqa: S301
        return page
