"""The types of a task.

A task is a plain function `task(shared, item, attempt) -> summary`, which an engine runs in worker processes. To
write a new one, see `project.py` as a short example:

1. Define two frozen dataclasses: the shared state, which is equal for all items (`ProjectJob`: options, models,
   folders), and the item (`ProjectItem`: what one call reads and writes). Both are pickled; large data stays in
   files.
2. Write the function at the top level of a module in this package, so that a worker can import it by name. It
   must not import pyspark or pandas.
3. Write results with `part_files`: a file gets its name only when it is complete, so a killed attempt leaves no
   part and a second attempt can write the same file again.
4. Return something small and picklable: counts, names, moments. The driver gets the results in the order of the
   items.
5. Do not catch errors. The engine makes another attempt (`attempt.number` > 0) unless the error is lasting
   (`engine.base.is_lasting`). A task that decodes photos calls `attempt.report` for progress, and on another
   attempt decodes in a child process (`child_decoder`), because a photo may have killed the first worker.
6. Call it from a stage in `verger.pipeline`: `engine.map(task, items, shared)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

# Called with two numbers of photos: done (rejected ones included), and rejected.
CountsCallback = Callable[[int, int], None]


def ignore_counts(n_done: int, n_rejected: int) -> None:
    """Do nothing: the callback for callers that show no progress."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task.

    number: 0 for the first attempt; above 0 if an earlier attempt raised an error or its worker died.
    gpu: index of the GPU to use, if the network runs on a GPU.
    n_threads: number of threads that may decode photos.
    report: called with the numbers of photos done and rejected since the previous call.
    """

    number: int = 0
    gpu: int = 0
    n_threads: int = 1
    report: CountsCallback = ignore_counts


Task = Callable[[S, T, Attempt], R]
