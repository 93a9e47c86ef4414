"""Processes that outlive the command that starts them, known again by pid and time of creation."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_TERM_S = 20.0
_KILL_S = 5.0
_POLL_S = 0.05

# What psutil makes of the kernel's clock ticks may shift a little when the clock is set.
_SAME_TIME_S = 2.0


@dataclass(frozen=True)
class Process:
    """A process that was started: a pid alone may be a stranger's by now."""

    role: str
    pid: int
    created_s: float
    log: str

    @property
    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return find(self) is not None

    def last_words(self, n_lines: int = 8) -> str:
        """Return the end of its log."""
        try:
            return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-n_lines:])
        except OSError:
            return ""


def launch(role: str, command: list[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a command in a session of its own, so that neither Ctrl-C nor the end of this one reaches it.

    Not by subprocess, which warns of children that are left running.
    """
    appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appended, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],  # Python ignores it, and children inherit that
    )
    return Process(role, pid, psutil.Process(pid).create_time(), str(log))


def find(process: Process) -> psutil.Process | None:
    """Return the process while it runs; None where it has ended, whoever has its pid now."""
    try:
        found = psutil.Process(process.pid)
        is_same = abs(found.create_time() - process.created_s) < _SAME_TIME_S
        return found if is_same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop(processes: Sequence[Process]) -> list[Process]:
    """End those of the processes that run, and all below them; return them."""
    running = {process: found for process in processes if (found := find(process))}
    ending = list(running.values())
    for found in running.values():
        with suppress(psutil.NoSuchProcess):
            ending += found.children(recursive=True)
            found.terminate()
    for left in _wait(ending, _TERM_S):
        with suppress(psutil.NoSuchProcess):
            left.kill()
    _wait(ending, _KILL_S)
    return list(running)


def _wait(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Return what is left of the processes after a while; one that nobody reaps counts as ended."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if _runs(process)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [process for process in left if _runs(process)]
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
