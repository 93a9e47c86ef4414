"""A time limit for work that cannot be interrupted from Python, such as a decoder in C that does not return."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from verger.tasks.base import Attempt

# Time for a child that decodes to start, on a machine that has much else to do.
_DECODER_START_S = 60.0


def photo_time_limit(limit_s: float, attempt: Attempt) -> AbstractContextManager[Callable[[], None]]:
    """Return a time limit for a task that calls what is yielded before each photo.

    A retry decodes in a child process, which has the limit for itself; the task has to outlive it and its start.
    """
    return time_limit(2 * limit_s + _DECODER_START_S if attempt.number else limit_s)


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
