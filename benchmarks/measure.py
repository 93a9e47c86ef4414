"""Helpers for the parts of `make bench`: time commands, compare them round by round, format tables."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verger.storage.manifest import software_versions

N_ROUNDS = 3

Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Line:
    """One line of a part's table; `target` is the goal of this project."""

    what: str
    value: str
    target: str = ""


def time_verger(*words: object, **environment: str) -> float:
    """Return the seconds that `verger WORDS` takes from the start of its process to its end."""
    return time_command([sys.executable, "-m", "verger", *map(str, words)], **environment)


def time_command(command: list[str], **environment: str) -> float:
    """Return the seconds that a command takes; if it fails, end the benchmark with its last output."""
    env = os.environ | environment
    with tempfile.TemporaryFile() as errors:  # a pipe would stay open in daemons that some commands start
        start = time.monotonic()
        done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=errors, check=False)
        spent_s = time.monotonic() - start
        errors.seek(0)
        last_output = errors.read()[-1000:].decode(errors="replace")
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])}: exit code {done.returncode}\n{last_output}")
    say(f"{spent_s:6.1f} s  {' '.join(command[2:4])}")
    return spent_s


def alternate(**runs: Callable[[], float]) -> Seconds:
    """Time each run once per round, so that other load on the machine affects all of them."""
    spent: Seconds = {name: [] for name in runs}
    for _ in range(N_ROUNDS):
        for name, run in runs.items():
            spent[name].append(run())
            say(f"{spent[name][-1]:6.1f} s  {name}")
    return spent


def against(what: str, spent: Seconds, ours: str, other: str, target: str = "") -> Line:
    """Return the median of the ratios of each round: above 1 if `ours` is faster."""
    ratios = [its / own for own, its in zip(spent[ours], spent[other], strict=True)]
    ours_s, other_s = statistics.median(spent[ours]), statistics.median(spent[other])
    speed = f"{statistics.median(ratios):.2f} ({spread(ratios)}): {ours_s:.1f} s against {other_s:.1f} s"
    return Line(what, speed, target)


def spread(values: list[float]) -> str:
    """Return "lowest to highest"."""
    return f"{min(values):.2f} to {max(values):.2f}"


def format_table(lines: list[Line]) -> str:
    """Return the lines as a Markdown table under the date, the machine and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    n_cores = len(os.sched_getaffinity(0))
    head = [
        f"Measured {time.strftime('%Y-%m-%d')} on {n_cores} cores of {cpu_name()}; {versions}.",
        f"Medians of {N_ROUNDS} runs. A ratio (with its range) above 1 means that the first one is faster; "
        "times vary more than ratios.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *(f"| {line.what} | {line.value} | {line.target} |" for line in lines)]) + "\n"


def cpu_name() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def say(text: str) -> None:
    """Report progress on standard error."""
    print(text, file=sys.stderr, flush=True)
