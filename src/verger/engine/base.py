"""The protocol of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from verger.errors import ClassifierError, ReductionError, SettingsError, SourceError, WeightsError
from verger.storage.disk_space import FULL
from verger.tasks.base import R, S, T, Task, Watch, ignore_counts

# Attempts at a task before a run fails: as on a cluster.
MAX_ATTEMPTS = 4

# What settings, data and models cause, and no state of the machine.
_LASTING = (ClassifierError, ReductionError, SettingsError, SourceError, WeightsError)


def is_lasting(error: Exception) -> bool:
    """Return whether another attempt at a task would end in the same error; of a full disk it would."""
    return isinstance(error, _LASTING) or (isinstance(error, OSError) and error.errno in FULL)


class Engine(Protocol):
    """Runs tasks in worker processes."""

    @property
    def name(self) -> str:
        """Name of the engine: local or spark."""

    @property
    def n_slots(self) -> int:
        """Number of tasks that run at the same time."""

    def map(self, task: Task[S, T, R], items: Sequence[T], shared: S, watch: Watch = ignore_counts) -> list[R]:
        """Return task(shared, item, attempt) for every item, in the order of the items.

        `task` is a function of a module that workers can import; `shared` travels to each worker once. `watch` is
        called a few times a second with the photos done and rejected so far. A task whose
        worker dies, or that raises an error which is not lasting, gets another attempt. The last attempt's error is
        raised here.
        """

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt where a library has swallowed one."""

    def release(self) -> None:
        """Let the workers end: no further `map` follows."""
