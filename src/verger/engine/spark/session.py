"""A Spark session as one run has it: it starts beside other work, runs jobs, and ends whatever happens."""

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
from verger.engine.spark.jvm import borrow, causes, has_ended, hush_py4j, jvms_below, start, stop, unless_killed
from verger.engine.spark.spark_options import SessionOptions
from verger.errors import JobError, SetupError, VergerError
from verger.process.signals import Interrupts, record_interrupts
from verger.spark_master import check_master
from verger.storage.disk_space import FULL

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CANCEL_S = 5.0
_TICK_S = 0.2

JVM_GONE = "Spark's JVM has ended; the system may have killed it for want of memory (see --driver-memory)"


class ManagedSession:
    """A SparkSession on its way: starting the JVM takes seconds in which the driver can do other things.

    Where Spark already runs in this process, as in a notebook, it is borrowed, and left running at the end.
    """

    def __init__(self, options: SessionOptions, interrupts: Interrupts) -> None:
        # Here, before the driver's other imports: they would slow down what the JVM waits for.
        from pyspark import SparkContext

        running = SparkContext._active_spark_context
        self.options = replace(options, master=str(running.master)) if running else options
        if running or options.is_connect:  # a JVM that is not ours
            self.options = replace(self.options, log=None)
        self._interrupts = interrupts
        self._lent_by: SparkContext | None = running
        self._job_group = f"verger-{uuid.uuid4()}"
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verger-spark")
        self._starting: Future[SparkSession] = self._pool.submit(self._open)
        self._running: Future[Any] | None = None
        self._ending: Future[None] | None = None

    def _open(self) -> SparkSession:
        if self._lent_by is None:
            return connect(self.options) if self.options.is_connect else start(self.options)
        self._lent_by.setJobGroup(self._job_group, "verger")
        return borrow(self._lent_by, self.options)

    @property
    def n_cores(self) -> int:
        """How many tasks run at a time: a Spark that has been running for a while knows best."""
        if self.options.is_connect or (self._lent_by is not None and not self.options.is_local):
            return n_slots(self.spark())
        return self.options.n_cores

    def spark(self) -> SparkSession:
        """Return the session, waiting for it; raises SetupError where Spark does not start."""
        return self._await(self._starting, lambda: None)

    def run(self, job: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
        """Return job(), calling `tick` a few times a second meanwhile; Ctrl-C cancels its tasks.

        A VergerError raised by a worker comes out as itself, and a full disk as the OSError it is in Python.
        """
        try:
            self._running = running = self._pool.submit(job)
            return self._await(running, tick)
        except VergerError:
            raise
        except Exception as error:  # py4j's and pyspark's, of many classes
            # Made into text now: a JVM that has ended can no longer be asked for it.
            text = str(error)
            told = _told_by_worker(text) or _full_disk(text)
            raise told or self._job_error(text) from None

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt where a library has swallowed one; `run` does so by itself."""
        self._interrupts.check()

    def has_executors(self) -> bool:
        """Tell whether a cluster has given any executor; without one a job waits, in silence."""
        if self.options.is_local or self.options.is_connect:
            return True
        known: int = self.spark().sparkContext._jsc.sc().getExecutorMemoryStatus().size()
        return known > 1  # the driver is one of them

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
        in_python = re.findall(r"^\w[\w.]*(?:Error|Exception|Interrupt)\b.*$", text, re.MULTILINE)
        words = JVM_GONE if has_ended() else (in_python or causes(text) or text.strip().splitlines()[:1])[-1]
        where = f"; the whole story: {self.options.log}" if self.options.log else ""
        logger.debug("the Spark job failed: %s", text)
        return JobError(f"a Spark job failed: {words}{where}")

    def release(self) -> None:
        """Let Spark stop beside what the driver has still to do: there will be no more jobs."""
        self._ending = self._pool.submit(self._end)

    def close(self) -> None:
        """Stop Spark and the JVM, whatever state they are in; of a borrowed Spark only what runs here."""
        if self._starting.cancel():
            return
        try:
            if self._lent_by is None and not self._starting.done():
                self._abandon()
            elif self._ending is None:
                self._end()  # not in the pool: a job may be running there
            else:
                self._ending.result()
        except SetupError:
            return  # it never started
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _abandon(self) -> None:
        """End a JVM that nobody will use before it has started: an error should not take seconds to be told."""
        hush_py4j()
        deadline = time.monotonic() + _CANCEL_S
        while not self._starting.done():
            for process in jvms_below():
                process.terminate() if time.monotonic() < deadline else process.kill()
            wait([self._starting], timeout=_TICK_S)
        if self._starting.exception() is None:
            self._end()

    def _end(self) -> None:
        spark = self._starting.result()
        try:
            with unless_killed():
                self._cancel(spark)
            if self._running is not None:  # it is told of its end by a JVM that is still there
                wait([self._running], timeout=_CANCEL_S)
        finally:
            if self.options.is_connect:
                spark.stop()
            elif self._lent_by is None:
                stop(spark)

    def _cancel(self, spark: SparkSession) -> None:
        if self.options.is_connect:
            spark.interruptAll()
        elif self._lent_by is None:
            spark.sparkContext.cancelAllJobs()
        else:
            self._lent_by.cancelJobGroup(self._job_group)


@contextmanager
def managed_session(options: SessionOptions) -> Iterator[ManagedSession]:
    """Start Spark in the background; stop it at the end, also after Ctrl-C."""
    with record_interrupts() as interrupts:
        starting = ManagedSession(options, interrupts)
        try:
            yield starting
            interrupts.check()
        finally:
            starting.close()


def open_session(
    master: str = "local[*]", *, driver_memory: str = "2g", conf: tuple[str, ...] = ()
) -> SparkSession:
    """Return a SparkSession set up for photos, for notebooks and scripts.

    Where Spark already runs in this process it is used as it is, less its SQL settings. Raises SettingsError
    where there is no such master, and SetupError where none answers. A server of Spark Connect (sc://HOST:PORT)
    takes of the settings what it lets its clients set.
    """
    from pyspark import SparkContext

    options = SessionOptions(check_master(master), driver_memory, conf)
    if options.is_connect:
        return connect(options)
    running = SparkContext._active_spark_context
    return borrow(running, options) if running else start(options)


def _told_by_worker(text: str) -> VergerError | None:
    """Return the VergerError that a worker's traceback ends in, if it does."""
    match = re.search(r"^verger\.errors\.(\w+): (.*)$", text, re.MULTILINE)
    kind = getattr(errors, match.group(1), None) if match else None
    if match is None or kind is None:
        return None
    told = VergerError.__new__(kind)
    told.args = (match.group(2),)
    return told  # type: ignore[no-any-return]


def _full_disk(text: str) -> OSError | None:
    """Return what Python would have raised where the JVM, or a worker, has met a full disk."""
    met = (code for code in FULL if os.strerror(code) in text)
    return next((OSError(code, os.strerror(code)) for code in met), None)
