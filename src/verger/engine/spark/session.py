"""The Spark session of a run: it starts in the background, cancels its jobs on Ctrl-C, and ends after every run."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from verger import errors
from verger.engine.spark.compat import n_slots
from verger.engine.spark.connect import connect
from verger.engine.spark.failure import describe_failure
from verger.engine.spark.jvm import (
    borrow,
    child_jvms,
    has_ended,
    ignore_dead_jvm,
    silence_py4j,
    start,
    stop,
)
from verger.engine.spark.spark_options import SessionOptions
from verger.errors import JobError, SetupError, VergerError
from verger.process.signals import Interrupts, record_interrupts
from verger.settings.spark_master import check_master
from verger.storage.disk_space import FULL

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CANCEL_S = 5.0
_TICK_S = 0.2

JVM_GONE = "Spark's JVM has ended; the system may have killed it for lack of memory (see --driver-memory)"


class ManagedSession:
    """A SparkSession that starts in the background: the start takes seconds, in which the driver does other work.

    If Spark already runs in this process, as in a notebook, the session uses that SparkContext and never stops it.
    """

    def __init__(self, options: SessionOptions, interrupts: Interrupts) -> None:
        # Imported here, before the driver's other modules, because their imports would delay the start of the JVM.
        from pyspark import SparkContext

        running = SparkContext._active_spark_context
        self.options = replace(options, master=str(running.master)) if running else options
        if running or options.is_connect:  # this session does not choose where the JVM logs
            self.options = replace(self.options, log=None)
        self._interrupts = interrupts
        self._borrowed: SparkContext | None = running
        self._job_group = f"verger-{uuid.uuid4()}"
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verger-spark")
        self._starting: Future[SparkSession] = self._pool.submit(self._open)
        self._running: Future[Any] | None = None
        self._ending: Future[None] | None = None

    def _open(self) -> SparkSession:
        if self._borrowed is None:
            return connect(self.options) if self.options.is_connect else start(self.options)
        self._borrowed.setJobGroup(self._job_group, "verger")
        return borrow(self._borrowed, self.options)

    @property
    def n_cores(self) -> int:
        """Number of tasks that run at the same time; if Spark already runs, Spark reports this number."""
        if self.options.is_connect or (self._borrowed is not None and not self.options.is_local):
            return n_slots(self.spark())
        return self.options.n_cores

    def spark(self) -> SparkSession:
        """Wait for the session and return it; raises SetupError if Spark does not start."""
        return self._await(self._starting, lambda: None)

    def run(self, job: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
        """Return job(), and call `tick` a few times a second while the job runs; Ctrl-C cancels the job's tasks.

        Raises a worker's VergerError unchanged, OSError for a full disk, and JobError for other errors.
        """
        try:
            self._running = running = self._pool.submit(job)
            return self._await(running, tick)
        except VergerError:
            raise
        except Exception as error:  # py4j and pyspark raise many classes
            # py4j reads the text from the JVM, so read it now: the JVM may end soon.
            text = str(error)
            raise _worker_error(text) or _full_disk(text) or self._job_error(text) from None

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and a library swallowed the exception."""
        self._interrupts.check()

    def has_executors(self) -> bool:
        """Return whether the cluster has given an executor; without one, jobs wait and report nothing."""
        if self.options.is_local or self.options.is_connect:
            return True
        n_registered: int = self.spark().sparkContext._jsc.sc().getExecutorMemoryStatus().size()
        return n_registered > 1  # the driver counts as one

    def _await(self, future: Future[T], tick: Callable[[], None]) -> T:
        while True:
            self._interrupts.check()
            try:
                return future.result(timeout=_TICK_S)
            except NotYet:
                if future.done():
                    return future.result()
                tick()

    def _job_error(self, text: str) -> JobError:
        cause = JVM_GONE if has_ended() else describe_failure(text)
        log = f"; Spark's log: {self.options.log}" if self.options.log else ""
        logger.debug("the Spark job failed: %s", text)
        return JobError(f"a Spark job failed: {cause}{log}")

    def release(self) -> None:
        """Stop Spark in the background, after the last job."""
        self._ending = self._pool.submit(self._end)

    def close(self) -> None:
        """Stop Spark and the JVM in any state; but only cancel this session's jobs if Spark ran before it."""
        if self._starting.cancel():
            return
        try:
            if self._borrowed is None and not self._starting.done():
                self._abandon()
            elif self._ending is None:
                self._end()  # not in the pool, where a job may still run
            else:
                self._ending.result()
        except SetupError:
            return  # Spark did not start
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _abandon(self) -> None:
        """End a JVM that is still starting, so that the user does not wait for the JVM after an error."""
        silence_py4j()
        deadline = time.monotonic() + _CANCEL_S
        while not self._starting.done():
            for process in child_jvms():
                process.terminate() if time.monotonic() < deadline else process.kill()
            wait([self._starting], timeout=_TICK_S)
        if self._starting.exception() is None:
            self._end()

    def _end(self) -> None:
        spark = self._starting.result()
        try:
            with ignore_dead_jvm():
                self._cancel(spark)
            if self._running is not None:  # if the JVM ended before the job, the job's error would be lost
                wait([self._running], timeout=_CANCEL_S)
        finally:
            if self.options.is_connect:
                spark.stop()
            elif self._borrowed is None:
                stop(spark)

    def _cancel(self, spark: SparkSession) -> None:
        if self.options.is_connect:
            spark.interruptAll()
        elif self._borrowed is None:
            spark.sparkContext.cancelAllJobs()
        else:
            self._borrowed.cancelJobGroup(self._job_group)


@contextmanager
def managed_session(options: SessionOptions) -> Iterator[ManagedSession]:
    """Start Spark in the background; stop it when the block ends, also after Ctrl-C."""
    with record_interrupts() as interrupts:
        session = ManagedSession(options, interrupts)
        try:
            yield session
            interrupts.check()
        finally:
            session.close()


def open_session(
    master: str = "local[*]", *, driver_memory: str = "2g", conf: tuple[str, ...] = ()
) -> SparkSession:
    """Return a SparkSession with settings for photos, for notebooks and scripts.

    If Spark already runs in this process, return a new session of this Spark, and change only SQL settings. On a
    Spark Connect server (sc://HOST:PORT), change only the settings that the server allows. Raises SettingsError if
    the value of `master` is not valid, and SetupError if the master does not answer.
    """
    from pyspark import SparkContext

    options = SessionOptions(check_master(master), driver_memory, conf)
    if options.is_connect:
        return connect(options)
    running = SparkContext._active_spark_context
    return borrow(running, options) if running else start(options)


def _worker_error(text: str) -> VergerError | None:
    """Return the VergerError at the end of a worker's traceback, or None if there is none."""
    match = re.search(r"^verger\.errors\.(\w+): (.*)$", text, re.MULTILINE)
    kind = getattr(errors, match.group(1), None) if match else None
    if match is None or kind is None:
        return None
    error = VergerError.__new__(kind)
    error.args = (match.group(2),)
    return error  # type: ignore[no-any-return]


def _full_disk(text: str) -> OSError | None:
    """Return an OSError if the JVM or a worker failed because of a full disk, otherwise None."""
    return next((OSError(code, os.strerror(code)) for code in FULL if os.strerror(code) in text), None)
