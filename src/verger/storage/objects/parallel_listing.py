"""List a great many objects side by side, in the order of their keys.

A store lists a thousand keys a request, and where the next thousand begin is known only when these are there: a
million objects are a chain of a thousand requests. But a listing may begin after any key. So what is left of it is
cut into ranges, listed side by side, and a range that turns out long is cut again. Nobody knows how the keys lie:
cuts are guesses, and a bad one costs a request that finds nothing but narrows the next guess.

Ranges ahead of the first wait on disk, not in memory.

All of this needs a store that lists in the order of the keys' bytes. One that does not is noticed, and listed one
page after another: what is listed after a key must be in order, and the first key behind a range, as found by its
own listing, must be the first that the next range's listing finds.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import takewhile
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from verger.storage.objects.key_space import Spread

logger = logging.getLogger(__name__)

_AT_A_TIME = 16
_BYTES_IN_MEMORY = 4 << 20


class ObjectInfo(NamedTuple):
    """An object: its key, bytes, and time of its last change in microseconds since 1970."""

    key: str
    length: int
    modified_us: int


Page = list[ObjectInfo]


class _OrderError(Exception):
    """The store does not list in the order of the keys' bytes."""


def list_ranges(
    prefix: str, open_after: Callable[[str | None], Iterator[Page]], page_size: int
) -> Iterator[ObjectInfo]:
    """Yield the objects below a prefix in the order of their keys; in the store's own where that is another.

    open_after: returns the pages after a key; all are of page_size but the last.
    """
    pages = open_after(None)
    first = next(pages, [])
    yield from first
    if len(first) < page_size:
        return
    with ThreadPoolExecutor(_AT_A_TIME) as pool, SpooledTemporaryFile(_BYTES_IN_MEMORY) as shelf:
        ranges = _Ranges(prefix, open_after, page_size)
        try:
            ranges.begin(pages, first)
            while ranges.parts:
                ranges.cut()
                ranges.ask(pool)
                ranges.take(shelf)
                yield from ranges.give(shelf)
            return
        except _OrderError:
            logger.info("%s: not listed in the order of the keys: one page after another, from the start", prefix)
            given = {found.key for found in first} | ranges.given(shelf)
    for page in open_after(None):
        yield from (found for found in page if found.key not in given)


def _last_in_order(last: str, page: Page) -> str:
    """Return the last key of a page that goes on after the key `last`; raises _OrderError.

    The mark of a folder, a/b/, is seen as a/b: without bytes, and behind keys like a/b.jpg.
    """
    for found in page:
        if found.key > last:
            last = found.key
        elif not found.length and f"{found.key}/" >= last:
            last = f"{found.key}/"
        else:
            raise _OrderError
    return last


class _Range:
    """Keys after `start`, up to `stop`, which `pages` yields; those up to `seen` it has yielded."""

    def __init__(self, pages: Iterator[Page], start: str, stop: str | None) -> None:
        self.pages, self.start, self.stop = pages, start, stop
        self.seen = start
        self.last = ""  # key of all that `pages` has yielded, whatever range it belongs to
        self.first: str | None = None  # key in this range
        self.beyond: str | None = None  # the first key after `stop` that `pages` has yielded
        self.is_over = False
        self.is_long = False  # and may be cut
        self.begins_as_asked = True  # False where the store began at the first key of all, and not after `start`
        self.answer: Future[Page] | None = None
        self.shelved: list[int] = []

    def take(self, page_size: int) -> Page:
        """Return what was answered, less what belongs to the ranges beside; raises _OrderError."""
        assert self.answer is not None
        answer, self.answer = self.answer.result(), None
        self.last = _last_in_order(self.last, answer)
        self.begins_as_asked &= len(answer) < page_size or answer[-1].key > self.start
        page = list(takewhile(lambda found: self.stop is None or found.key <= self.stop, answer))
        self.is_long = len(page) == page_size
        self.is_over = not self.is_long
        if len(page) < len(answer):
            self.beyond = answer[len(page)].key
        # The mark of a folder, a/b/, is seen as a/b, which sorts before what came before it.
        self.seen = max([self.seen, *(found.key for found in page)])
        kept = [found for found in page if found.key > self.start]
        if kept and self.first is None:
            self.first = kept[0].key
        return kept


class _Ranges:
    """What is left of a listing, in the order of the keys."""

    def __init__(self, prefix: str, open_after: Callable[[str | None], Iterator[Page]], page_size: int) -> None:
        self.parts: list[_Range] = []
        self._spread = Spread(prefix)
        self._open_after = open_after
        self._page_size = page_size
        self._given: list[int] = []
        self._expected: str | None = None  # the key that the next range has to come to first

    def begin(self, pages: Iterator[Page], first: Page) -> None:
        """Go on from the first page, whose keys tell something of the others; raises _OrderError."""
        keys = [found.key for found in first]
        edges = self._spread.edges(keys)
        self._spread.learn([*keys, *edges])
        self.parts = [_Range(pages, max(keys), None)]
        self.parts[0].last = _last_in_order("", first)
        self.parts[0].is_long = True
        for edge in edges:
            if edge > self.parts[-1].seen:
                self._split(self.parts[-1], edge)

    def cut(self) -> None:
        """Cut what has most room, until there is enough to do side by side.

        Where the store ignores the key to start after, each range lists all that comes before it: no cuts there.
        """
        if not all(part.begins_as_asked for part in self.parts):
            return
        while sum(not part.is_over for part in self.parts) < _AT_A_TIME:
            long = [part for part in self.parts if part.is_long]
            if not long:
                return
            widest = max(long, key=lambda part: self._spread.width(part.seen, part.stop))
            middle = self._spread.middle(widest.seen, widest.stop)
            if middle is None:
                widest.is_long = False
            else:
                self._split(widest, middle)

    def _split(self, part: _Range, key: str) -> None:
        self.parts.insert(self.parts.index(part) + 1, _Range(self._open_after(key), key, part.stop))
        part.stop = key

    def ask(self, pool: ThreadPoolExecutor) -> None:
        """Ask for the next page of each, and wait for one."""
        unfinished = [part for part in self.parts if not part.is_over]
        for part in unfinished:
            part.answer = part.answer or pool.submit(next, part.pages, [])
        wait([part.answer for part in unfinished if part.answer], return_when=FIRST_COMPLETED)

    def take(self, shelf: IO[bytes]) -> None:
        """Put what was answered on the shelf; raises _OrderError."""
        for part in self.parts:
            if part.answer is None or not part.answer.done():
                continue
            if page := part.take(self._page_size):
                self._spread.learn([part.seen])
                part.shelved.append(shelf.seek(0, 2))
                pickle.dump(page, shelf)

    def give(self, shelf: IO[bytes]) -> Iterator[ObjectInfo]:
        """Yield what is on the shelf and whose turn it is; raises _OrderError."""
        while self.parts:
            first = self.parts[0]
            for place in first.shelved:
                shelf.seek(place)
                self._given.append(place)
                yield from pickle.load(shelf)  # noqa: S301
            first.shelved.clear()
            if not first.is_over:
                return
            self._check_joint(self.parts.pop(0))

    def _check_joint(self, part: _Range) -> None:
        """Raise _OrderError where a range does not begin with the key that the one before it has come to."""
        if self._expected is not None and self._expected != (part.first or part.beyond):
            raise _OrderError
        self._expected = part.beyond

    def given(self, shelf: IO[bytes]) -> set[str]:
        """Return the keys that `give` has yielded."""
        keys: set[str] = set()
        for place in self._given:
            shelf.seek(place)
            keys.update(found.key for found in pickle.load(shelf))  # noqa: S301
        return keys
