"""Measure the processes of a run of verger: memory and processor time of driver, JVM and workers."""

from __future__ import annotations

from contextlib import suppress

import psutil

KINDS = ("driver", "JVM", "workers")


def sample_processes(pid: int) -> tuple[dict[str, float], dict[int, float]]:
    """Return the memory in MB by kind (KINDS), and the processor seconds by process, of a run with this driver."""
    held = dict.fromkeys(KINDS, 0.0)
    own_s: dict[int, float] = {}
    with suppress(psutil.NoSuchProcess):
        run = psutil.Process(pid)
        for process in [run, *run.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
                # PSS counts a page that n processes share as 1/n in each; workers are forks of one another.
                held[_kind(process, pid)] += process.memory_full_info().pss / 1e6
                own_s[process.pid] = sum(process.cpu_times()[:2])
    return held, own_s


def _kind(process: psutil.Process, run_pid: int) -> str:
    if process.pid == run_pid:
        return "driver"
    return "JVM" if process.name() == "java" else "workers"
