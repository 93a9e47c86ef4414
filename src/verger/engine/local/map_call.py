"""One call of `LocalEngine.map`: send items to workers, collect the results, and make further attempts."""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from verger.engine.base import MAX_ATTEMPTS, is_lasting
from verger.engine.local.worker_process import QueuedItem, WorkerProcess
from verger.errors import JobError
from verger.process.signals import Interrupts
from verger.process.traceback_text import innermost_error
from verger.tasks.base import CountsCallback

logger = logging.getLogger(__name__)

_TICK_S = 0.2
_KILLED = f"signal {signal.SIGKILL:d}"


class MapCall:
    """The state of one call of `LocalEngine.map`.

    shared_file: pickle of the shared state. log: file with the output of the workers.
    """

    def __init__(self, task: Any, items: Sequence[Any], shared_file: Path, log: Path) -> None:
        self._task = task
        self._items = items
        self._shared_file = shared_file
        self._log = log
        self._waiting = deque(QueuedItem(index) for index in range(len(items)))
        self._results: dict[int, Any] = {}
        self._n_done = self._n_rejected = 0

    def run(
        self, workers: Sequence[WorkerProcess], interrupts: Interrupts, on_progress: CountsCallback
    ) -> list[Any]:
        """Return the results in the order of the items; raises the error of the last attempt at an item."""
        reported_s = time.monotonic()
        while len(self._results) < len(self._items):
            interrupts.check()
            self._assign(workers)
            busy = {worker.child.connection: worker for worker in workers if worker.item is not None}
            for connection in wait(list(busy), timeout=_TICK_S):
                assert isinstance(connection, Connection)
                self._receive(busy[connection])
            if time.monotonic() - reported_s >= _TICK_S:
                reported_s = time.monotonic()
                on_progress(*self._count(workers))
        on_progress(*self._count(workers))
        return [self._results[index] for index in range(len(self._items))]

    def _count(self, workers: Sequence[WorkerProcess]) -> tuple[int, int]:
        """Return the numbers of photos done and rejected, including the photos of running items."""
        n_done = self._n_done + sum(worker.n_done for worker in workers)
        return n_done, self._n_rejected + sum(worker.n_rejected for worker in workers)

    def _assign(self, workers: Sequence[WorkerProcess]) -> None:
        for worker in workers:
            if worker.item is None and self._waiting:
                if worker.child.process.poll() is not None:  # the worker died while idle, so no item is the cause
                    worker.child.wait()
                    worker.start()
                item = self._waiting.popleft()
                worker.send(self._task, self._shared_file, self._items[item.index], item)

    def _receive(self, worker: WorkerProcess) -> None:
        """Read one message: (n_done, n_rejected, None), or (n_done, n_rejected, (result, error)) as the last."""
        try:
            n_done, n_rejected, ending = worker.child.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        worker.n_done, worker.n_rejected = n_done, n_rejected
        if ending is None:
            return
        result, error = ending
        item = worker.finish_item()
        if error is None:
            self._results[item.index] = result
            self._n_done += n_done
            self._n_rejected += n_rejected
        elif item.n_failed + 1 < MAX_ATTEMPTS and not is_lasting(error):
            logger.info("attempt %d at a task failed: %s", item.n_failed + 1, error)
            self._waiting.appendleft(QueuedItem(item.index, item.n_failed + 1))
        else:
            raise error

    def _replace(self, worker: WorkerProcess) -> None:
        """Restart a worker that has died, and queue the item it had for another attempt."""
        item = worker.finish_item()
        worker.child.process.kill()
        ending = worker.child.wait()
        if item.n_failed + 1 >= MAX_ATTEMPTS:
            advice = "; memory may have run out: use fewer --workers" if ending == _KILLED else ""
            raise JobError(
                f"a worker process has died {MAX_ATTEMPTS} times at the same task ({ending}){advice}{self._cause()}"
            )
        logger.info("a worker process has died (%s): another attempt at its task follows", ending)
        self._waiting.appendleft(QueuedItem(item.index, item.n_failed + 1))
        worker.start()

    def _cause(self) -> str:
        """Return the innermost error in the workers' log, or its last line; empty if the log is empty."""
        try:
            text = self._log.read_text(errors="replace").strip()
        except OSError:  # the cache may have been emptied
            return ""
        if error := innermost_error(text):
            return f"; {error} (the workers' log: {self._log})"
        return f"; last line of the workers' log {self._log}: {text.splitlines()[-1]}" if text else ""
