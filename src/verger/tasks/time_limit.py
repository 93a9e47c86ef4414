"""A time limit for code that Python cannot interrupt, such as a decoder in C that does not return."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from verger.tasks.base import Attempt

# Time that the child process for decoding may need to start, on a busy machine.
_DECODER_START_S = 60.0


def photo_time_limit(photo_timeout_s: float, attempt: Attempt) -> AbstractContextManager[Callable[[], None]]:
    """Return `time_limit` for a task that calls the yielded function before it reads and decodes each photo.

    A second or later attempt does both in a child process, which has its own limit. The worker's limit is then
    longer, so that only the child is killed.
    """
    return time_limit(2 * photo_timeout_s + _DECODER_START_S if attempt.number else photo_timeout_s)


@contextmanager
def time_limit(limit_s: float) -> Iterator[Callable[[], None]]:
    """Kill this process if more than `limit_s` seconds pass between two calls of the yielded function.

    The operating system kills the process with SIGALRM, independently of Python; the engine then makes another
    attempt. The start of the block counts as a call; the end of the block removes the limit.
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
