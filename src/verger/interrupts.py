"""Interrupts: those that a library swallows while it imports others are noted, what must not be left is not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Those that have come so far."""

    def __init__(self) -> None:
        self._is_due = False

    def check(self) -> None:
        """Raise KeyboardInterrupt where one has come, and has not ended what it came into."""
        if self._is_due:
            self._is_due = False
            raise KeyboardInterrupt

    def noting(self, handler: Handler) -> Handler:
        """Return a signal's handler that notes it before it handles it."""

        def handle(number: int, frame: FrameType | None) -> None:
            self._is_due = True
            handler(number, frame)

        return handle


@contextmanager
def noting_interrupts() -> Iterator[Interrupts]:
    """Note Ctrl-C, kill and a closed terminal as they pass."""
    noted = Interrupts()
    with _handled(lambda handler: noted.noting(handler) if callable(handler) else handler):
        yield noted


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nothing end the block but a kill -9."""
    with _handled(lambda handler: signal.SIG_IGN):
        yield


@contextmanager
def _handled(instead: Callable[[Any], Any]) -> Iterator[None]:
    """Have what `instead` makes of each handler handle interrupts; only the main thread has them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in _NUMBERS}
    earlier = {number: handler for number, handler in found.items() if handler is not None}  # None: not of Python's
    for number, handler in earlier.items():
        signal.signal(number, instead(handler))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
