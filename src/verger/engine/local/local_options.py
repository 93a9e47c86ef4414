"""Options of the local engine, and the number of cores of this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LocalOptions:
    """Options of the local engine.

    n_workers: number of worker processes; each runs one task at a time.
    n_threads: number of threads that decode photos in a task; more than one only if the network runs on a GPU.
    n_gpus: number of GPUs; worker i uses GPU i modulo n_gpus.
    preload: modules that a worker imports when it starts.
    """

    n_workers: int
    n_threads: int = 1
    n_gpus: int = 1
    preload: tuple[str, ...] = ()


def available_cores() -> int:
    """Return the number of cores that this process may use: the lower of CPU affinity and container quota."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        n_cores = min(n_cores, max(1, round(int(quota) / int(period))))
    return n_cores
