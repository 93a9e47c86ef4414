"""The program of a local worker process: `python -m verger.engine.local.worker FD PARENT [MODULE ...]`.

FD is the file descriptor of a pipe to the driver, PARENT the driver's pid. The worker imports the modules, then
runs the tasks that it reads from the pipe, one at a time, until the driver closes the pipe.
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

# Shortest time between two progress messages. With a fast neural network, more messages would slow down the worker.
_REPORT_EVERY_S = 0.1


class _Reporter:
    """Counts the photos of a task, and sends the counts to the driver at most once in _REPORT_EVERY_S seconds."""

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
    """Reads the file with the shared state only once for each map."""

    def __init__(self) -> None:
        self._file = ""
        self._value: Any = None

    def read(self, file: str) -> Any:
        if file != self._file:
            self._value = None  # free the old state before the new one is read: each may hold a large network
            self._value = pickle.loads(Path(file).read_bytes())  # noqa: S301  # written by the driver
            self._file = file
        return self._value


def serve(connection: Connection) -> None:
    """Run the tasks that the driver sends; raises EOFError when the driver closes the pipe."""
    shared = _Shared()
    while True:
        task, file, item, attempt, gpu, n_threads = connection.recv()
        reporter = _Reporter(connection)
        ending: tuple[Any, Exception | None]
        try:
            result = task(shared.read(file), item, Attempt(attempt, gpu, n_threads, reporter.add))
            ending = (result, None)
        except Exception as error:  # raised again by the driver
            ending = (None, _to_picklable(error))
        connection.send((reporter.n_done, reporter.n_rejected, ending))


def _to_picklable(error: BaseException) -> Exception:
    """Return an error that the driver can raise: VergerError and OSError unchanged, others as JobError.

    If a library has wrapped the original error in an error of the library, use the original error.
    """
    while error.__cause__ is not None and not isinstance(error, VergerError):
        error = error.__cause__
    if isinstance(error, VergerError | OSError):
        with suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301  # pickled here
            return error
    print(traceback.format_exc(), file=sys.stderr, flush=True)
    if isinstance(error, MemoryError):
        return JobError("a task failed: memory ran out; use fewer --workers")
    return JobError(f"a task failed: {type(error).__name__}: {error}")


def main() -> None:
    """Run tasks until the driver closes the pipe or ends."""
    end_with_parent(int(sys.argv[2]))
    ignore_interrupts()
    faulthandler.enable()
    for module in sys.argv[3:]:
        with suppress(ImportError):  # the task that needs the module will raise the error
            import_module(module)
    with suppress(EOFError, OSError):  # the driver has ended or closed the pipe
        serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
