"""Wait for events of a run, which its files show: tests never wait for a fixed time.

A run seen from outside has reached a number of parts of the features (`wait_for_parts`). A driver that is `mortal`
kills itself as it is about to touch its staging folder for the n-th time, wherever in the run that is.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.chain import wait_until

STAGING = ".out.verger-staging"

ENGINES = {"local": ("--engine", "local"), "spark": ("--engine", "spark", "--master", "local[2]")}

_DIES_AT, _COUNT = "VERGER_TEST_DIES_AT", "VERGER_TEST_COUNT"

# Python imports a module of this name as it starts. Audit hooks are called before a file is touched.
_SITE = f"""
import atexit, os, signal, sys

def fatal(event, arguments):
    if event not in EVENTS or not any(map(is_staged, arguments)):
        return
    state[0] += 1
    if state[0] == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)

def is_staged(argument):
    return isinstance(argument, (str, bytes, os.PathLike)) and b".verger-staging" in os.fsencode(argument)

def leave_count():
    with open(os.environ["{_COUNT}"], "w") as file:
        file.write(str(state[0]))

EVENTS = {{"open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"}}
state = [0]
if os.path.basename(sys.orig_argv[1] if len(sys.orig_argv) > 1 else "") == "verger":  # the driver alone
    dies_at = int(os.environ.get("{_DIES_AT}", 0))
    if "{_COUNT}" in os.environ:
        atexit.register(leave_count)
    sys.addaudithook(fatal)
"""


def n_parts(folder: Path) -> int:
    """Return how many parts of the features the run that writes to `folder`/out has finished."""
    return len(list((folder / STAGING).glob("run-*/features/part-*.parquet")))


def wait_for_staging(folder: Path, run: subprocess.Popen[str]) -> None:
    """Wait until a run has a folder in its staging folder."""
    _wait(run, lambda: any((folder / STAGING).glob("run-*")))


def wait_for_parts(folder: Path, run: subprocess.Popen[str], n: int = 1) -> None:
    """Wait until a run has finished `n` parts of the features."""
    _wait(run, lambda: n_parts(folder) >= n)


def _wait(run: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    def is_reached() -> bool:
        assert run.poll() is None, "the run ended before it could be disturbed"
        return is_so()

    wait_until(is_reached, timeout_s=300)


def mortal(site: Path, *, dies_at: int = 0) -> dict[str, str]:
    """Return the environment of a driver that dies as it touches its staging folder for the `dies_at`-th time.

    It leaves how often it has done so in `site`/count, where it does not die.
    """
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_SITE)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, _DIES_AT: str(dies_at), _COUNT: str(site / "count")}
