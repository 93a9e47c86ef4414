"""The local engine: worker processes on this machine, without a JVM.

Each worker is a Python process of its own (`verger.engine.local.worker`), connected by a pipe. For why this is no
pool of a library see docs/adr/0015-local-engine.md.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from verger.engine.base import MAX_ATTEMPTS, is_lasting
from verger.errors import JobError
from verger.process.launch import module_command, module_environment
from verger.process.signals import Interrupts, record_interrupts
from verger.storage.cache import cache_dir, remove_old_logs
from verger.tasks.base import CountsCallback, R, S, T, Task, ignore_counts

logger = logging.getLogger(__name__)

_TICK_S = 0.2
# Workers started before the number of tasks is known.
_EARLY_WORKERS = 4
# One thread a worker: libraries must not start one for every core in each of them.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


_STORES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")


@dataclass(frozen=True)
class LocalOptions:
    """How the local engine is set up.

    n_workers: processes, one task each at a time.
    n_threads: threads of a task that decode photos; more than one only where the network runs on a GPU.
    n_gpus: GPUs that the workers take in turn.
    preload: modules that a worker imports as it starts.
    """

    n_workers: int
    n_threads: int = 1
    n_gpus: int = 1
    preload: tuple[str, ...] = ()


def available_cores() -> int:
    """Return how many cores this process may use: its CPU affinity, or the quota of its container if less."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        n_cores = min(n_cores, max(1, round(int(quota) / int(period))))
    return n_cores


def _environment() -> dict[str, str]:
    """Return the variables by which stores are found and asked: workers started for others are of no use."""
    return {name: value for name, value in os.environ.items() if name.startswith(_STORES)}


@dataclass
class _Job:
    """An item that waits or runs: its place among the items, and how many attempts at it have failed."""

    number: int
    attempt: int = 0


@dataclass
class _Worker:
    """A worker process, our end of its pipe, and the job that it runs."""

    index: int
    process: subprocess.Popen[bytes]
    connection: Connection
    job: _Job | None = None
    n_done: int = 0
    n_rejected: int = 0

    def end(self) -> str:
        """Kill the process, if it still runs; return how it ended."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@dataclass
class _Map:
    """The state of one call of `LocalEngine.map`."""

    task: Any
    items: Sequence[Any]
    shared: Path
    waiting: deque[_Job]
    results: dict[int, Any] = field(default_factory=dict)
    n_done: int = 0
    n_rejected: int = 0


class LocalEngine:
    """Runs tasks in processes on this machine."""

    name = "local"

    def __init__(self, options: LocalOptions, interrupts: Interrupts, log: IO[bytes], scratch: Path) -> None:
        self._options = options
        self._interrupts = interrupts
        self._log = log
        self._scratch = scratch
        self._workers: list[_Worker] = []
        self._environment = _environment()

    def start_early(self) -> None:
        """Start a few workers before there is work for them: they import their modules meanwhile."""
        self._start_workers(_EARLY_WORKERS)

    def _start_workers(self, n_wanted: int) -> None:
        if self._workers and self._environment != _environment():
            self.close()
        self._environment = _environment()
        for index in range(len(self._workers), min(self.n_slots, n_wanted)):
            self._workers.append(self._start(index))

    @property
    def n_slots(self) -> int:
        """Number of tasks that run at the same time."""
        return self._options.n_workers

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt where a library has swallowed one."""
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
            going = _Map(task, items, Path(file.name), deque(_Job(number) for number in range(len(items))))
            self._start_workers(len(items))
            try:
                self._run(going, on_progress)
            except BaseException:
                self.close()  # workers in the middle of a task are of no use to the next map
                raise
        return [going.results[number] for number in range(len(items))]

    def _run(self, going: _Map, on_progress: CountsCallback) -> None:
        reported = time.monotonic()
        while len(going.results) < len(going.items):
            self._interrupts.check()
            for at, worker in enumerate(self._workers):
                if worker.job is None and going.waiting:
                    if worker.process.poll() is not None:  # no task's fault: it had none
                        worker.end()
                        worker = self._workers[at] = self._start(worker.index)
                    self._assign(worker, going)
            busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
            for connection in wait(list(busy), timeout=_TICK_S):
                assert isinstance(connection, Connection)
                self._receive(busy[connection], going)
            if time.monotonic() - reported >= _TICK_S:
                reported = time.monotonic()
                on_progress(*self._count(going))
        on_progress(*self._count(going))

    def _count(self, going: _Map) -> tuple[int, int]:
        n_done = going.n_done + sum(worker.n_done for worker in self._workers)
        return n_done, going.n_rejected + sum(worker.n_rejected for worker in self._workers)

    def _assign(self, worker: _Worker, going: _Map) -> None:
        job = going.waiting.popleft()
        gpu = worker.index % max(1, self._options.n_gpus)
        worker.job = job
        with suppress(OSError):  # it has died: the next read from it says so
            worker.connection.send(
                (going.task, str(going.shared), going.items[job.number], job.attempt, gpu, self._options.n_threads)
            )

    def _receive(self, worker: _Worker, going: _Map) -> None:
        """Take in a message of a worker: (n_done, n_rejected), and where the task has ended (result, error)."""
        try:
            n_done, n_rejected, ending = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, going)
            return
        worker.n_done, worker.n_rejected = n_done, n_rejected
        if ending is None:
            return
        result, error = ending
        assert worker.job is not None
        job, worker.job, worker.n_done, worker.n_rejected = worker.job, None, 0, 0
        if error is None:
            going.results[job.number] = result
            going.n_done += n_done
            going.n_rejected += n_rejected
        elif job.attempt + 1 < MAX_ATTEMPTS and not is_lasting(error):
            logger.info("attempt %d at a task failed: %s", job.attempt + 1, error)
            going.waiting.appendleft(_Job(job.number, job.attempt + 1))
        else:
            raise error

    def _replace(self, worker: _Worker, going: _Map) -> None:
        """Start a worker in the place of one that has died, and let its job be tried again."""
        ending, job = worker.end(), worker.job
        assert job is not None
        if job.attempt + 1 >= MAX_ATTEMPTS:
            raise JobError(
                f"a worker process has died {MAX_ATTEMPTS} times at the same task ({ending}); if memory ran out, "
                f"use fewer --workers{self._last_words()}"
            )
        logger.info("a worker process has died (%s): its task is tried again", ending)
        going.waiting.appendleft(_Job(job.number, job.attempt + 1))
        self._workers[self._workers.index(worker)] = self._start(worker.index)

    def _last_words(self) -> str:
        lines: list[str] = []
        with suppress(OSError):  # somebody may have emptied the cache
            lines = Path(self._log.name).read_text(errors="replace").strip().splitlines()
        return f"; the workers' last words: {lines[-1]} (all: {self._log.name})" if lines else ""

    def _start(self, index: int) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            numbers = str(theirs.fileno()), str(os.getpid())
            process = subprocess.Popen(
                module_command("verger.engine.local.worker", *numbers, *self._options.preload),
                # Temporary files go where the driver removes them: a worker that is killed cannot.
                env=module_environment() | _ONE_THREAD | {"TMPDIR": str(self._scratch)},
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a terminal's Ctrl-C is for the driver, which ends the workers
            )
        return _Worker(index, process, ours)

    def release(self) -> None:
        """End the workers: no further `map` follows. Kept workers stay."""
        if self not in _kept:
            self.close()

    def with_interrupts(self, interrupts: Interrupts) -> LocalEngine:
        """Return this engine, which then looks at these interrupts."""
        self._interrupts = interrupts
        return self

    def close(self) -> None:
        """End the workers, whatever they are doing. Files that they were writing keep their temporary names."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()


_kept: list[LocalEngine] = []


@contextmanager
def keep_workers(options: LocalOptions) -> Iterator[None]:
    """Let all local runs in the block use the same workers: they start once, and not for each run."""
    with _opened(options) as engine:
        _kept.append(engine)
        try:
            yield
        finally:
            _kept.remove(engine)


@contextmanager
def local_engine(options: LocalOptions) -> Iterator[LocalEngine]:
    """Yield an engine whose workers start in the background; end them when the block ends.

    Inside of `keep_workers` it is the engine of that block, and its workers stay.
    """
    if _kept:
        with record_interrupts() as interrupts:
            yield _kept[-1].with_interrupts(interrupts)
            interrupts.check()
        return
    with _opened(options) as engine:
        engine.start_early()
        yield engine
        engine.check_interrupt()


@contextmanager
def _opened(options: LocalOptions) -> Iterator[LocalEngine]:
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
