"""Small tasks for the tests of the engines, in a module that workers can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verger.errors import StorageError
from verger.tasks.base import Attempt
from verger.tasks.project import ProjectItem, ProjectJob, project_partition


def scale(factor: int, item: int, attempt: Attempt) -> int:
    """Return a product; items with an odd number take a little longer."""
    time.sleep(0.01 * (item % 2))
    return factor * item


def multiply(factor: int, item: int, attempt: Attempt) -> int:
    """Return a product."""
    return factor * item


def die_at_first(signals: dict[int, int], item: int, attempt: Attempt) -> tuple[int, int]:
    """Return the item and the number of the attempt; the first attempt at some items ends by a signal."""
    if attempt.number == 0 and item in signals:
        os.kill(os.getpid(), signals[item])
    return item, attempt.number


def die_always(folder: str, item: int, attempt: Attempt) -> None:
    """Create a file for each attempt, and die."""
    (Path(folder) / f"{item}-{attempt.number}").touch()
    print("no memory left", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def raise_at_first(errors: Sequence[Exception], item: int, attempt: Attempt) -> int:
    """Return the number of the attempt; the first few raise these errors, in turn."""
    if attempt.number < len(errors):
        raise errors[attempt.number]
    return attempt.number


def wrap_error(error: Exception, item: int, attempt: Attempt) -> None:
    """Raise an error with another one as its cause, as libraries do."""
    raise RuntimeError("the library failed") from error


def record_and_raise(shared: tuple[str, Exception], item: int, attempt: Attempt) -> None:
    """Create a file for each attempt, and raise an error."""
    folder, error = shared
    (Path(folder) / f"{attempt.number}").touch()
    raise error


def raise_error(error: Exception, item: int, attempt: Attempt) -> None:
    """Raise the error in the shared state."""
    raise error


def fail_store(n_failures: int, item: int, attempt: Attempt) -> int:
    """Return the number of the attempt; in the first few attempts an object store fails."""
    if attempt.number < n_failures:
        raise StorageError(f"the store fails for the {attempt.number + 1}. time")
    return attempt.number


def report_counts(shared: None, item: int, attempt: Attempt) -> None:
    """Report ten photos one by one, every fifth rejected."""
    for photo in range(10):
        attempt.report(1, int(photo % 5 == 0))
        time.sleep(0.05)


def project_half(job: ProjectJob, item: ProjectItem, attempt: Attempt) -> int:
    """Write components, and report half their number."""
    return project_partition(job, item, attempt) // 2


def own_pid(duration_s: float, item: int, attempt: Attempt) -> int:
    """Return the worker's pid after a while."""
    time.sleep(duration_s)
    return os.getpid()


def variable(name: str, item: int, attempt: Attempt) -> tuple[int, str | None]:
    """Return the worker's pid, and a variable of its environment."""
    return os.getpid(), os.environ.get(name)


def file_of_random(shared: None, item: int, attempt: Attempt) -> str:
    """Return the file of the module `random`."""
    import random

    return str(random.__file__)


class Counted:
    """State that counts how often a process has unpickled it."""

    n_times = 0

    def __setstate__(self, state: Any) -> None:
        Counted.n_times += 1

    def __getstate__(self) -> dict[str, int]:
        return {"anything": 1}


def times_unpickled(shared: Counted, item: int, attempt: Attempt) -> tuple[int, int]:
    """Return the worker's pid, and how often it has unpickled the shared state."""
    time.sleep(0.02)
    return os.getpid(), shared.n_times


def leave_file_and_wait(folder: str, item: int, attempt: Attempt) -> None:
    """Create a file that shows that the task runs, and one in the temporary folder; never end."""
    import tempfile

    tempfile.mkstemp(prefix="left-")
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(3600)
