"""A process of its own for Keras, which reads its backend from the environment when first imported.

The child tells how far it is as JSON lines on its standard output; `Teller` writes them, `run_child` reads
them. Whatever ends the parent ends the child: an error or Ctrl-C by its hand, a kill by the broken pipe.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verger.errors import SourceError, VergerError, WeightsError
from verger.process.launch import module_command, module_environment
from verger.process.progress import Progress

logger = logging.getLogger(__name__)

_END_TIMEOUT_S = 5.0
_ERRORS: dict[str, type[VergerError]] = {kind.__name__: kind for kind in (SourceError, WeightsError)}


@dataclass(frozen=True)
class Task:
    """A module to run as `python -m MODULE TASK_JSON FOLDER`, with what it needs and the backend it needs."""

    module: str
    values: dict[str, Any]
    backend: str


def run_child(task: Task, folder: Path, progress: Progress) -> None:
    """Run a task to its end in `folder`; raises the VergerError that ended it."""
    log = folder / f"{task.module.rpartition('.')[2]}.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            module_command(task.module, json.dumps(task.values), str(folder)),
            env={**module_environment(), "KERAS_BACKEND": task.backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            _follow(json.loads(line), progress)
        code = child.wait()
    finally:
        _end(child)
    if code != 0:
        raise VergerError(_last_words(task.module, code, log))


def _follow(told: dict[str, Any], progress: Progress) -> None:
    if "error" in told:
        raise _ERRORS.get(told["kind"], VergerError)(told["error"])
    if "stage" in told:
        progress.stage(told["stage"], told["n_photos"])
    elif "done" in told:
        progress.advance(told["done"], told["rejected"])
    else:
        progress.note(told["note"])


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _last_words(module: str, code: int, log: Path) -> str:
    """Say in one line why a child ended that could not say so itself."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ": not enough memory? Try a smaller batch_size or size_px" if -code == signal.SIGKILL else ""
        return f"{module} was ended by {name}{hint}"
    text = log.read_text(encoding="utf-8", errors="replace")
    logger.info("%s", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{module} failed: {lines[-1] if lines else f'exit code {code}'}"


class Teller:
    """The child's end: a `Progress` that also tells the error that ends it."""

    def __init__(self) -> None:
        # Libraries print what they like: only this may write where the parent reads.
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """A stage begins."""
        self._tell(stage=name, n_photos=n_photos)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """The running stage has done so many photos in all."""
        self._tell(done=n_done, rejected=n_rejected)

    def note(self, words: str) -> None:
        """The user should know of something."""
        self._tell(note=words)

    def run(self, job: Callable[[dict[str, Any], Path], None]) -> int:
        """Do the job with the command line's values and folder, and return the exit code."""
        try:
            job(json.loads(sys.argv[1]), Path(sys.argv[2]))
        except VergerError as error:
            self._tell(error=" ".join(str(error).split()), kind=type(error).__name__)
            return 1
        return 0

    def _tell(self, **said: object) -> None:
        print(json.dumps(said), file=self._out, flush=True)
