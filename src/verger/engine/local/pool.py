"""The local engine: a pool of worker processes on this machine, without a JVM.

Each worker is a Python process (`verger.engine.local.worker`); a pipe connects it to the driver.
docs/adr/0015-local-engine.md explains why verger does not use the process pool of a library.
"""

from __future__ import annotations

import os
import pickle
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from verger.engine.local.local_options import LocalOptions
from verger.engine.local.map_call import MapCall
from verger.engine.local.worker_process import WorkerProcess
from verger.process.signals import Interrupts, record_interrupts
from verger.storage.cache import cache_dir, remove_old_logs
from verger.tasks.base import CountsCallback, R, S, T, Task, ignore_counts

# Number of workers to start before the number of tasks is known.
_EARLY_WORKERS = 4

_STORE_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")


def _store_variables() -> dict[str, str]:
    """Return the environment variables that configure access to object stores."""
    return {name: value for name, value in os.environ.items() if name.startswith(_STORE_PREFIXES)}


class LocalEngine:
    """Runs tasks in processes on this machine.

    log: file for the output of the workers. scratch: folder for the workers' temporary files.
    """

    name = "local"

    def __init__(self, options: LocalOptions, interrupts: Interrupts, log: IO[bytes], scratch: Path) -> None:
        self._options = options
        self._interrupts = interrupts
        self._log = log
        self._scratch = scratch
        self._workers: list[WorkerProcess] = []
        self._variables = _store_variables()

    def start_early(self) -> None:
        """Start a few workers before there are tasks, so that they import their modules in the meantime."""
        self._start_workers(_EARLY_WORKERS)

    def _start_workers(self, n_useful: int) -> None:
        if self._workers and self._variables != _store_variables():
            self.close()  # the running workers still have the earlier variables
        self._variables = _store_variables()
        for index in range(len(self._workers), min(self.n_slots, n_useful)):
            self._workers.append(WorkerProcess(index, self._options, self._log, self._scratch))

    @property
    def n_slots(self) -> int:
        """Number of tasks that run at the same time."""
        return self._options.n_workers

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed the exception."""
        self._interrupts.check()

    def map(
        self, task: Task[S, T, R], items: Sequence[T], shared: S, on_progress: CountsCallback = ignore_counts
    ) -> list[R]:
        """Return the results of a task for every item, in the order of the items; see `Engine.map`."""
        if not items:
            return []
        with tempfile.NamedTemporaryFile(dir=self._scratch, suffix=".pickle") as file:
            pickle.dump(shared, file, pickle.HIGHEST_PROTOCOL)
            file.flush()
            call = MapCall(task, items, Path(file.name), Path(self._log.name))
            self._start_workers(len(items))
            try:
                return call.run(self._workers, self._interrupts, on_progress)
            except BaseException:
                self.close()  # workers that still run a task of this map cannot be used for the next map
                raise

    def release(self) -> None:
        """End the workers after the last call of `map`; inside `keep_workers` they keep running."""
        if self not in _kept:
            self.close()

    def use_interrupts(self, interrupts: Interrupts) -> None:
        """Check these interrupts from now on."""
        self._interrupts = interrupts

    def close(self) -> None:
        """Kill the workers. Unfinished files keep their temporary names."""
        for worker in self._workers:
            worker.child.process.kill()
        for worker in self._workers:
            worker.child.wait()
        self._workers.clear()


_kept: list[LocalEngine] = []


@contextmanager
def keep_workers(options: LocalOptions) -> Iterator[None]:
    """Make all local runs in the block use the same workers, which start only once."""
    with _open_engine(options) as engine:
        _kept.append(engine)
        try:
            yield
        finally:
            _kept.remove(engine)


@contextmanager
def local_engine(options: LocalOptions) -> Iterator[LocalEngine]:
    """Yield an engine whose workers start in the background; end them when the block ends.

    Inside `keep_workers`, yield the engine of that block and ignore `options`; its workers keep running.
    """
    if _kept:
        with record_interrupts() as interrupts:
            _kept[-1].use_interrupts(interrupts)
            yield _kept[-1]
            interrupts.check()
        return
    with _open_engine(options) as engine:
        engine.start_early()
        yield engine
        engine.check_interrupt()


@contextmanager
def _open_engine(options: LocalOptions) -> Iterator[LocalEngine]:
    log = cache_dir() / "logs" / f"workers-{os.getpid()}-{secrets.token_hex(3)}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        remove_old_logs(log.parent, "workers-*.log")
        with (
            log.open("ab") as sink,
            tempfile.TemporaryDirectory(prefix="verger-") as scratch,
            record_interrupts() as interrupts,
        ):
            engine = LocalEngine(options, interrupts, sink, Path(scratch))
            try:
                yield engine
            finally:
                engine.close()
    finally:
        with suppress(OSError):
            if log.stat().st_size == 0:
                log.unlink()
