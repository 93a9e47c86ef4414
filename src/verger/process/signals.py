"""Signals: detect interrupts that a library swallows, block them in critical work, end with the parent process."""

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
    """Record of whether an interrupt has arrived."""

    def __init__(self) -> None:
        self._has_arrived = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if an interrupt has arrived, even if a library has swallowed it."""
        if self._has_arrived:
            self._has_arrived = False
            raise KeyboardInterrupt

    def recording(self, handler: Handler) -> Handler:
        """Return a signal handler that records the signal, then calls `handler`."""

        def handle(number: int, frame: FrameType | None) -> None:
            self._has_arrived = True
            handler(number, frame)

        return handle


@contextmanager
def record_interrupts() -> Iterator[Interrupts]:
    """Record Ctrl-C, kill and a closed terminal during the block."""
    interrupts = Interrupts()
    with _replaced_handlers(lambda handler: interrupts.recording(handler) if callable(handler) else handler):
        yield interrupts


def end_with_parent(parent: int) -> None:
    """Request that Linux kill this process when its parent ends; do nothing on other systems.

    parent: the parent's pid, passed by the parent itself: os.getppid() is another pid if the parent has ended.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before prctl was called
        os._exit(1)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C and a closed terminal: the parent handles them, and ends this process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C, kill and a closed terminal during the block; only kill -9 ends the process."""
    with _replaced_handlers(lambda handler: signal.SIG_IGN):
        yield


@contextmanager
def _replaced_handlers(replacement: Callable[[Any], Any]) -> Iterator[None]:
    """Replace each interrupt handler h by replacement(h) during the block; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    current = {number: signal.getsignal(number) for number in _NUMBERS}
    earlier = {number: handler for number, handler in current.items() if handler is not None}  # None: set by C code
    for number, handler in earlier.items():
        signal.signal(number, replacement(handler))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
