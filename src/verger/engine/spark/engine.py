"""The Spark engine: runs tasks on a Spark master, classic or Connect.

Spark schedules the tasks, makes another attempt if a worker dies, and sends the shared state to each executor
once.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from verger.engine.spark.compat import Artifact, is_connect, share
from verger.engine.spark.session import ManagedSession
from verger.kernel.networks.device import gpu_of
from verger.storage.arrow import binaries
from verger.tasks.base import Attempt, CountsCallback, R, S, T, Task, ignore_counts

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Accumulator, Broadcast, TaskContext
    from pyspark.sql import DataFrame, SparkSession

# If a job still has no executor after this time, the user gets a message.
PATIENCE_S = 20.0
NO_EXECUTORS = (
    "waiting: the cluster has given no executor yet; it is busy, or its workers have less memory than "
    "--conf spark.executor.memory (default: 1g)"
)


class SparkEngine:
    """Runs tasks on the Spark of a `ManagedSession`.

    note: called with a message for the user if the cluster gives no executors for PATIENCE_S seconds.
    uses_gpus: each task gets a GPU from Spark.
    """

    name = "spark"

    def __init__(self, session: ManagedSession, note: Callable[[str], None], *, uses_gpus: bool = False) -> None:
        self.session = session
        self._note = note
        self._uses_gpus = uses_gpus

    @property
    def n_slots(self) -> int:
        """Number of tasks that run at the same time."""
        return self.session.n_cores

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed the exception."""
        self.session.check_interrupt()

    def release(self) -> None:
        """Stop Spark in the background, after the last call of `map`."""
        self.session.release()

    def map(
        self, task: Task[S, T, R], items: Sequence[T], shared: S, on_progress: CountsCallback = ignore_counts
    ) -> list[R]:
        """Return the results of a task for every item, in the order of the items; see `Engine.map`."""
        if not items:
            return []
        spark = self.session.spark()
        if is_connect(spark):
            return self._map_on_connect(spark, task, items, shared)
        counts = _Counts(spark)
        shared_value = self._share(spark, shared)
        report, uses_gpus = counts.report, self._uses_gpus

        def run(numbered: Iterable[tuple[int, T]]) -> list[R]:
            from pyspark import TaskContext

            attempt = _attempt(cast("TaskContext", TaskContext.get()), report, uses_gpus=uses_gpus)
            return [task(shared_value.value, item, attempt) for _, item in numbered]

        def job() -> list[R]:
            tasks = spark.sparkContext.parallelize(list(enumerate(items)), len(items))
            return tasks.mapPartitions(run).collect()

        results = self.session.run(job, self._with_executor_check(lambda: on_progress(*counts.read())))
        shared_value.destroy()
        return results

    def _map_on_connect(self, spark: SparkSession, task: Task[S, T, R], items: Sequence[T], shared: S) -> list[R]:
        """Do the same as `map`, but with a DataFrame of item numbers and without progress: Connect has no RDDs."""
        shared_value = self._share(spark, (list(items), shared))
        uses_gpus = self._uses_gpus

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            numbers = [number for batch in batches for number in batch.column(0).to_pylist()]
            attempt = _attempt(cast("TaskContext", TaskContext.get()), ignore_counts, uses_gpus=uses_gpus)
            all_items, state = shared_value.value
            yield _result_batch([(number, task(state, all_items[number], attempt)) for number in numbers])

        def job() -> list[R]:
            frame = spark.range(0, len(items), 1, len(items)).mapInArrow(run, _RESULTS)
            return _collected(frame)

        return self.session.run(job, self._with_executor_check(lambda: None))

    def map_frame(
        self,
        task: Task[S, tuple[int, Iterable[pa.RecordBatch]], R],
        frame: DataFrame,
        shared: S,
        on_progress: CountsCallback = ignore_counts,
    ) -> list[R]:
        """Return the results of a task for every partition of a DataFrame, here of photos that only Spark can read.

        The task receives (partition number, batches of rows) as its item.
        """
        spark = frame.sparkSession
        counts = None if is_connect(spark) else _Counts(spark)
        shared_value = self._share(spark, shared)
        report, uses_gpus = counts.report if counts else ignore_counts, self._uses_gpus

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            context = cast("TaskContext", TaskContext.get())
            number = context.partitionId()
            attempt = _attempt(context, report, uses_gpus=uses_gpus)
            yield _result_batch([(number, task(shared_value.value, (number, batches), attempt))])

        def tick() -> None:
            if counts:
                on_progress(*counts.read())

        return self.session.run(
            lambda: _collected(frame.mapInArrow(run, _RESULTS)), self._with_executor_check(tick)
        )

    def _share(self, spark: SparkSession, value: S) -> Broadcast[S] | Artifact[S]:
        """Send a value to the workers. It is sent in a job, so that errors such as a full disk are translated.

        pyspark also prints a traceback of such an error; this method suppresses the traceback.
        """

        def job() -> Broadcast[S] | Artifact[S]:
            with redirect_stderr(io.StringIO()):
                return share(spark, value)

        return self.session.run(job)

    def _with_executor_check(self, tick: Callable[[], None]) -> Callable[[], None]:
        """Return a function that calls `tick` and, after PATIENCE_S, checks once whether there are executors."""
        started, is_checked = time.monotonic(), False

        def tick_and_check() -> None:
            nonlocal is_checked
            tick()
            if not is_checked and time.monotonic() - started > PATIENCE_S:
                is_checked = True
                if not self.session.has_executors():
                    self._note(NO_EXECUTORS)

        return tick_and_check


_RESULTS = "number long, result binary"


def _result_batch(results: list[tuple[int, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    numbers = pa.py_buffer(np.array([number for number, _ in results], np.int64))
    column = pa.Array.from_buffers(pa.int64(), len(results), [None, numbers])
    return pa.RecordBatch.from_arrays(
        [column, binaries([pickle.dumps(r) for _, r in results])], ["number", "result"]
    )


def _collected(frame: DataFrame) -> list[Any]:
    rows = sorted(frame.collect(), key=lambda row: row["number"])
    return [pickle.loads(row["result"]) for row in rows]  # noqa: S301  # pickled by our workers


def _attempt(context: TaskContext, report: CountsCallback, *, uses_gpus: bool) -> Attempt:
    """Return the attempt that Spark runs. On a GPU, the attempt has one thread per core of the task."""
    if not uses_gpus:
        return Attempt(context.attemptNumber(), report=report)
    return Attempt(context.attemptNumber(), gpu_of(context), context.cpus(), report)


class _Counts:
    """Numbers of photos done and rejected. Spark updates them when a task ends; a repeated task counts twice."""

    def __init__(self, spark: SparkSession) -> None:
        self.done: Accumulator[int] = spark.sparkContext.accumulator(0)
        self.rejected: Accumulator[int] = spark.sparkContext.accumulator(0)

    @property
    def report(self) -> CountsCallback:
        """The function with which workers report their counts."""
        accumulators = (self.done, self.rejected)

        def report(*numbers: int) -> None:
            for accumulator, number in zip(accumulators, numbers, strict=True):
                accumulator.add(number)

        return report

    def read(self) -> tuple[int, int]:
        """Return the numbers of photos done and rejected. Only the driver can call this method."""
        return self.done.value, self.rejected.value
