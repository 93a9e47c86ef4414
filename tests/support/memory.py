"""Measure the memory of a run from outside."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.chain import descendants, start_verger

_EVERY_S = 0.1


@dataclass
class Peaks:
    """Peak resident memory in MB."""

    driver: float = 0
    worker: float = 0
    java: float = 0


def peaks_of(*words: object, cwd: Path) -> Peaks:
    """Run a command and watch its processes to the end."""
    run = start_verger(*words, "--json", cwd=cwd)
    peaks = Peaks()
    while run.poll() is None:
        peaks.driver = max(peaks.driver, resident_mb(psutil.Process(run.pid)))
        for process in descendants(run.pid):
            command = command_of(process)
            if "verger.engine.local.worker" in command or "pyspark.daemon" in command:
                peaks.worker = max(peaks.worker, resident_mb(process))
            elif "org.apache.spark" in command:
                peaks.java = max(peaks.java, resident_mb(process))
        time.sleep(_EVERY_S)
    _, said = run.communicate()
    assert run.returncode == 0, said
    print(f"\npeaks in MB: {peaks}")
    return peaks


def resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        return 0


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
