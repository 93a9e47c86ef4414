"""The processes of a run that a test may kill, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import psutil

from tests.support.chain import descendants

DRIVER = "driver's Python"
LOCAL_WORKER = "local engine's worker"
DRIVER_JVM = "driver's JVM"
PYTHON_WORKER = "Spark's Python worker"
EXECUTOR = "executor's JVM"
WORKER = "worker's JVM"

# What the command lines of those below a run, or below a cluster's workers, hold.
_COMMANDS = {
    LOCAL_WORKER: "verger.engine.local.worker",
    DRIVER_JVM: "pyspark-shell",
    PYTHON_WORKER: "pyspark.daemon",
    EXECUTOR: "org.apache.spark.executor.CoarseGrainedExecutorBackend",
}

# The processes in which the tasks of an engine run.
TASK_WORKERS = {"local": LOCAL_WORKER, "spark": PYTHON_WORKER}


def living(kind: str, run: int, workers: Sequence[int] = ()) -> list[psutil.Process]:
    """Return the running processes of a kind; `run` and the cluster's `workers` are pids."""
    if kind in (DRIVER, WORKER):
        pids = [run] if kind == DRIVER else [pid for pid in workers if psutil.pid_exists(pid)]
        return [psutil.Process(pid) for pid in pids]
    below = [process for pid in (run, *workers) for process in descendants(pid)]
    return [process for process in below if _is(kind, process)]


def _is(kind: str, process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = _COMMANDS[kind]
        if kind == LOCAL_WORKER:
            return command in process.cmdline()
        if kind == PYTHON_WORKER:  # forked by a daemon of the same name
            parent = process.parent()
            return parent is not None and all(command in one.cmdline() for one in (process, parent))
        return "java" in process.name() and command in process.cmdline()
    return False
