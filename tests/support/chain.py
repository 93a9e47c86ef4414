"""Run the command line as users do, in a process of its own, and read what it has written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from verger.cli import app
from verger.storage.objects.stores import store_of

Done = subprocess.CompletedProcess[str]

# Not `python -m verger`: CPython ends that by the signal, and not by our exit code, where a Ctrl-C has come into an
# exec() of a text.
VERGER = (str(Path(sys.executable).with_name("verger")),)


def verger(*words: object, cwd: Path, **environment: str) -> Done:
    """Run the command line in `cwd` and wait for its end."""
    command = [*VERGER, *map(str, words)]
    env = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=500)


def beside_progress(stderr: str) -> list[str]:
    """Return the output lines of a run without a terminal, except those about its engine and progress."""
    progress = re.compile(r"[A-Za-z ]+(: [\d,]+( of [\d,]+)? photos, \d+ img/s(, [\d,]+ rejected)?)?")
    return [line for line in stderr.splitlines() if not (progress.fullmatch(line) or line.startswith("engine: "))]


def manifest_of(*words: object, cwd: Path, **environment: str) -> dict[str, Any]:
    """Run a command that must succeed, and return the manifest that it prints."""
    done = verger(*words, "--json", cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    manifest: dict[str, Any] = json.loads(done.stdout)
    return manifest


def manifest_here(*words: object, cwd: Path, engine: str = "local") -> dict[str, Any]:
    """Run a command in this process, on workers that the tests share or on the Spark fixture; it must succeed."""
    more = ["--engine", engine] if words[0] in ("run", "features", "reduce", "pack", "train") else []
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(app, [*map(str, words), *more, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    manifest: dict[str, Any] = json.loads(done.stdout)
    return manifest


def start_verger(*words: object, cwd: Path) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [*VERGER, *map(str, words)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def multiplied(photos: Path, folder: Path, n_photos: int) -> Path:
    """Fill `folder` with a total number of copies of photos, each with its own name."""
    originals = sorted(path for path in photos.rglob("*") if path.is_file())
    for i in range(n_photos):
        original = originals[i % len(originals)]
        target = folder / original.parent.name / f"{i:04d}{original.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, target)
    return folder


def same_tables(one: Path, other: Path) -> bool:
    """Return whether two results of `verger run` have the same rows, to the last bit."""
    return all(table(one / name).equals(table(other / name)) for name in ("features", "rejected", "components"))


@contextlib.contextmanager
def store_at(prefix: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Set the variables in `environment`, and remove all others that start with `prefix`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(prefix)]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        store_of.cache_clear()
        yield
    store_of.cache_clear()


def wait_until(is_so: Callable[[], bool], timeout_s: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def table(folder: Path) -> pa.Table:
    """Return a written table sorted by path, as the order of files and rows may vary."""
    return pq.read_table(folder).sort_by("path")


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def contents(folder: Path) -> list[bytes]:
    """Return the rows of every data file in a table's folder, unchanged and in their order.

    Not the files themselves: in their footers the JVM lists encodings in the order of hashes that are its own, and
    in their names Spark puts a number of chance.
    """
    return sorted(_rows(path) for path in folder.glob("*.parquet"))


def _rows(file: Path) -> bytes:
    sink = pa.BufferOutputStream()
    rows = pq.read_table(file).combine_chunks().replace_schema_metadata()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def beside(out: Path) -> list[str]:
    """Return the hidden names beside `out`, which an interrupted run may have left."""
    return sorted(p.name for p in out.parent.iterdir() if p.name.startswith(".") and p != out)


def descendants(pid: int) -> list[psutil.Process]:
    """Return the descendants of the process `pid`; none where it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_until_gone(processes: Sequence[psutil.Process], timeout_s: float) -> list[str]:
    """Wait for processes to end; return those that still run. A zombie counts as ended."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while left and time.monotonic() < deadline:
        left = [process for process in left if _is_alive(process)]
        time.sleep(0.1)
    return [str(process) for process in left]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
