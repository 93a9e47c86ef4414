"""The driver's handle of one worker process, which runs the program `verger.engine.local.worker`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from verger.engine.local.local_options import LocalOptions
from verger.process.piped_child import PipedChild

# Libraries must not start one thread per core in each worker.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class QueuedItem:
    """An item of a map: its index in the list of items, and the number of failed attempts."""

    index: int
    n_failed: int = 0


class WorkerProcess:
    """A worker process (`child`), the item that it runs, and the numbers of photos it has reported for this item.

    log: file for the worker's output. scratch: the worker's folder for temporary files.
    """

    def __init__(self, index: int, options: LocalOptions, log: IO[bytes], scratch: Path) -> None:
        self._gpu = index % max(1, options.n_gpus)
        self._options = options
        self._log = log
        self._scratch = scratch
        self.item: QueuedItem | None = None
        self.n_done = self.n_rejected = 0
        self.start()

    def start(self) -> None:
        """Start the process; start it again if it has ended."""
        self.child = PipedChild(
            "verger.engine.local.worker",
            *self._options.preload,
            # The driver removes this folder: a worker that is killed cannot remove its temporary files.
            environment=_ONE_THREAD | {"TMPDIR": str(self._scratch)},
            output=self._log,
        )

    def send(self, task: Any, shared_file: Path, value: Any, item: QueuedItem) -> None:
        """Make the worker run task(shared, value, attempt); `value` is the value of `item`."""
        self.item = item
        with suppress(OSError):  # the process has died: the next read from the pipe reports it
            self.child.connection.send(
                (task, str(shared_file), value, item.n_failed, self._gpu, self._options.n_threads)
            )

    def finish_item(self) -> QueuedItem:
        """Return the item that has ended, and make the worker free for another item."""
        assert self.item is not None
        item, self.item, self.n_done, self.n_rejected = self.item, None, 0, 0
        return item
