"""A time limit for work that cannot be interrupted from Python, such as a decoder in C that does not return."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def time_limit(limit_s: float) -> Iterator[Callable[[], None]]:
    """Kill this process where more than `limit_s` seconds pass between two calls of what is yielded.

    The system does so by SIGALRM, without Python's help: the engine sees that the process has died, and
    tries again. The block's begin counts as a call; its end lifts the limit.
    """
    if not hasattr(signal, "setitimer"):
        yield lambda: None
        return

    def restart() -> None:
        signal.setitimer(signal.ITIMER_REAL, limit_s)

    restart()
    try:
        yield restart
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
