"""The protocol of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from verger.tasks.base import R, S, T, Task, Watch, ignore_counts

# Attempts at a task before a run fails: as on a cluster.
MAX_ATTEMPTS = 4


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
        called a few times a second with the photos done and rejected so far. A worker that dies costs its running
        task another attempt. An error that a task raises is raised here.
        """

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt where a library has swallowed one."""

    def release(self) -> None:
        """Let the workers end: no further `map` follows."""
