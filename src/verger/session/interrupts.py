"""An interrupt is heeded, if not at once: some libraries swallow one that comes while they import others."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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
    """Note Ctrl-C, kill and a closed terminal as they pass; only the main thread has them."""
    noted = Interrupts()
    earlier = {number: signal.getsignal(number) for number in _NUMBERS}
    ours = threading.current_thread() is threading.main_thread()
    handlers = {number: handler for number, handler in earlier.items() if ours and callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, noted.noting(handler))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
