"""A worker process of the local engine: `python -m verger.engine.local.worker FD PARENT [MODULE ...]`.

FD is the number of an open connection, PARENT the pid of the driver. The worker imports the modules, then runs the
tasks that come on the connection one by one until it is closed.
"""

from __future__ import annotations

import faulthandler
import pickle
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from verger.errors import JobError, VergerError
from verger.process.signals import end_with_parent, ignore_interrupts
from verger.tasks.base import Attempt

# Progress is sent at most this often, so that a fast network does not spend its time on messages.
_REPORT_EVERY_S = 0.1


class _Reporter:
    """Adds up the photos of a task, and sends the sums now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = time.monotonic()
        self.n_done = self.n_rejected = 0

    def add(self, n_done: int, n_rejected: int) -> None:
        self.n_done += n_done
        self.n_rejected += n_rejected
        if time.monotonic() - self._sent >= _REPORT_EVERY_S:
            self._sent = time.monotonic()
            self._connection.send((self.n_done, self.n_rejected, None))


class _Shared:
    """The shared state of the running map, read from its file once."""

    def __init__(self) -> None:
        self._file = ""
        self._value: Any = None

    def read(self, file: str) -> Any:
        if file != self._file:
            self._value = None  # two large networks need not be held at the same time
            self._value = pickle.loads(Path(file).read_bytes())  # noqa: S301  # the driver's own
            self._file = file
        return self._value


def serve(connection: Connection) -> None:
    """Run the tasks that come on the connection; raises EOFError when it is closed."""
    shared = _Shared()
    while True:
        task, file, item, attempt, gpu, n_threads = connection.recv()
        reporter = _Reporter(connection)
        ending: tuple[Any, Exception | None]
        try:
            result = task(shared.read(file), item, Attempt(attempt, gpu, n_threads, reporter.add))
            ending = (result, None)
        except Exception as error:  # it is raised again by the driver
            ending = (None, _portable(error))
        connection.send((reporter.n_done, reporter.n_rejected, ending))


def _portable(error: BaseException) -> Exception:
    """Return an error that the driver can raise: verger's own and the system's as they are, others as JobError.

    One that another library has wrapped is unwrapped: the first cause says what went wrong.
    """
    while error.__cause__ is not None and not isinstance(error, VergerError):
        error = error.__cause__
    if isinstance(error, VergerError | OSError):
        with suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
            return error
    print(traceback.format_exc(), file=sys.stderr, flush=True)
    if isinstance(error, MemoryError):
        return JobError("a task failed: memory ran out; use fewer --workers")
    return JobError(f"a task failed: {type(error).__name__}: {error}")


def main() -> None:
    """Serve the connection whose number is the first argument, as long as the process of the second lives."""
    end_with_parent(int(sys.argv[2]))
    ignore_interrupts()
    faulthandler.enable()
    for module in sys.argv[3:]:
        with suppress(ImportError):  # the task that needs it says what is missing
            import_module(module)
    with suppress(EOFError, OSError):  # the driver has ended, or needs no more
        serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
