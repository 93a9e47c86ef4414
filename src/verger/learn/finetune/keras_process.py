"""Child processes for Keras, which reads its backend from the environment when it is first imported.

The child reports its progress and its error as JSON lines on its standard output; `ParentProgress` writes these
lines, and `run_keras_process` reads them. The child never outlives the parent: after an error or Ctrl-C the parent
stops the child; if the parent is killed, the broken pipe ends the child.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from verger.errors import SetupError, SourceError, VergerError, WeightsError
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.process.launch import module_command, module_environment
from verger.process.progress import Progress
from verger.process.traceback_text import innermost_error

logger = logging.getLogger(__name__)

# The order of preference: on a CPU TensorFlow trains seven times as fast as JAX.
TRAINING_BACKENDS = ("tensorflow", "jax", "torch")

_STOP_TIMEOUT_S = 5.0
_ERRORS: dict[str, type[VergerError]] = {kind.__name__: kind for kind in (SourceError, WeightsError)}


def find_training_backend() -> str:
    """Return the Keras backend for training: KERAS_BACKEND if it can train, otherwise the first one installed.

    Raises SetupError if no backend that can train is installed.
    """
    installed = [name for name in TRAINING_BACKENDS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise SetupError(
            "fine-tuning needs a Keras backend that can train (TensorFlow, JAX or PyTorch), and none is installed: "
            "pip install 'verger[train]'"
        )
    requested = os.environ.get("KERAS_BACKEND", "")
    return requested if requested in installed else installed[0]


def run_keras_process(
    module: str, backend: str, options: FinetuneOptions, folder: Path, progress: Progress
) -> None:
    """Run `python -m MODULE OPTIONS_JSON FOLDER` with a Keras backend; raises the VergerError of this process."""
    log = folder / f"{module.rpartition('.')[2]}.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            module_command(module, json.dumps(asdict(options)), str(folder)),
            env={**module_environment(), "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            _forward(json.loads(line), progress)
        exit_code = child.wait()
    finally:
        _stop(child)
    if exit_code != 0:
        raise VergerError(_describe_crash(module, exit_code, log))


def _forward(message: dict[str, Any], progress: Progress) -> None:
    """Pass a child's message on to `progress`; raise the error that it reports."""
    if "error" in message:
        raise _ERRORS.get(message["kind"], VergerError)(message["error"])
    if "stage" in message:
        progress.stage(message["stage"], message["n_photos"])
    elif "n_done" in message:
        progress.advance(message["n_done"], message["n_rejected"])
    else:
        progress.note(message["note"])


def _stop(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _describe_crash(module: str, exit_code: int, log: Path) -> str:
    """Return one line that explains why a child ended without reporting an error."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ": not enough memory? Try a smaller batch_size or size_px" if -exit_code == signal.SIGKILL else ""
        return f"{module} was ended by {name}{hint}"
    text = log.read_text(encoding="utf-8", errors="replace")
    logger.info("%s", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [f"exit code {exit_code}"]
    return f"{module} failed: {innermost_error(text) or lines[-1]}"


def run_as_child(work: Callable[[Path, FinetuneOptions, Progress], None]) -> int:
    """Call `work` with the folder and the options from the command line; return the exit code of the child."""
    progress = ParentProgress()
    try:
        work(Path(sys.argv[2]), FinetuneOptions(**json.loads(sys.argv[1])), progress)
    except VergerError as error:
        progress.send(error=" ".join(str(error).split()), kind=type(error).__name__)
        return 1
    return 0


class ParentProgress:
    """A `Progress` for the child process; it sends all reports to the parent."""

    def __init__(self) -> None:
        # Libraries also print to stdout. Their output goes to stderr, so that the parent reads only our messages.
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Report that a stage begins."""
        self.send(stage=name, n_photos=n_photos)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Report how many photos the running stage has done in total, and how many of these were rejected."""
        self.send(n_done=n_done, n_rejected=n_rejected)

    def note(self, words: str) -> None:
        """Report something that the user should know."""
        self.send(note=words)

    def send(self, **message: object) -> None:
        """Write a message as a JSON line."""
        print(json.dumps(message), file=self._out, flush=True)
