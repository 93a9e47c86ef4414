"""Signals: interrupts that a library swallows are noticed, work that must be finished is not interrupted."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object]

_PR_SET_PDEATHSIG = 1

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
def record_interrupts() -> Iterator[Interrupts]:
    """Note Ctrl-C, kill and a closed terminal as they pass."""
    noted = Interrupts()
    with _handled(lambda handler: noted.noting(handler) if callable(handler) else handler):
        yield noted


def end_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent, of this pid, ends (Linux); elsewhere do nothing.

    The pid comes from the parent itself: one that ended while this process was starting can no longer be asked for.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the system was asked
        os._exit(1)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C and a closed terminal: the parent decides when this process ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def block_interrupts() -> Iterator[None]:
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
