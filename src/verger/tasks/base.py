"""The types of a task and of an attempt at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

# Receives numbers of photos: done, and rejected.
Watch = Callable[[int, int], None]


def ignore_counts(n_done: int, n_rejected: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task.

    number: 0 for the first; a later one follows a process that died, or an error.
    gpu: index of the GPU to use where the network runs on one.
    n_threads: threads that may decode photos.
    report: call it with the photos done and rejected since the last call.
    """

    number: int = 0
    gpu: int = 0
    n_threads: int = 1
    report: Watch = ignore_counts


Task = Callable[[S, T, Attempt], R]
