"""The protocol of an engine, and the rule for further attempts at a task.

To write a new engine, implement `Engine` in a module or folder beside `local` and `spark`, add its name to
`settings.ENGINES`, its rule to `choice.choose_engine`, and the code that starts it to `pipeline.engine_start`. An
engine must:

- call `task(shared, item, attempt)` for every item in worker processes, and return the results in the order of
  the items. Items are never regrouped, so that all engines give the same bits;
- send `shared` to each worker once, not with every item;
- make up to MAX_ATTEMPTS attempts if a worker dies or a task raises an error for which `is_lasting` is false, and
  count these attempts in `Attempt.number`. Two attempts may write at the same time: part files make this safe;
- raise the last error in the driver: errors of verger unchanged, others as JobError.

`tests/engine/test_equal.py` compares the results of the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from verger.errors import ClassifierError, ReductionError, SettingsError, SourceError, WeightsError
from verger.storage.disk_space import FULL
from verger.tasks.base import CountsCallback, R, S, T, Task, ignore_counts

# The same as Spark's default for `spark.task.maxFailures`.
MAX_ATTEMPTS = 4

# Errors caused by settings, data or models, not by the state of the machine.
_LASTING = (ClassifierError, ReductionError, SettingsError, SourceError, WeightsError)


def is_lasting(error: Exception) -> bool:
    """Return whether another attempt would fail with the same error. A full disk counts as lasting."""
    return isinstance(error, _LASTING) or (isinstance(error, OSError) and error.errno in FULL)


class Engine(Protocol):
    """Runs tasks in worker processes."""

    @property
    def name(self) -> str:
        """Name of the engine: local or spark."""

    @property
    def n_slots(self) -> int:
        """Number of tasks that run at the same time."""

    def map(
        self, task: Task[S, T, R], items: Sequence[T], shared: S, on_progress: CountsCallback = ignore_counts
    ) -> list[R]:
        """Return task(shared, item, attempt) for every item, in the order of the items.

        `task` is a top-level function of a module that workers can import. `on_progress` is called a few times a
        second with the total numbers of photos done and rejected so far. Raises the error of the last attempt.
        """

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed the exception."""

    def release(self) -> None:
        """Let the workers end in the background: there are no further calls of `map`."""
