"""The only place that builds a SparkSession, and waits for its jobs."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from verger import errors
from verger.errors import JobError, SetupError, VergerError
from verger.java import class_archive, use_java

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Up to so many cores one thread collects the garbage: the JVM has little, and the workers need the cores.
MAX_SERIAL_GC_CORES = 4

_JVM_EXIT_S = 60.0  # an archive of classes takes a while to write
_LOG_KEPT_S = 7 * 24 * 3600.0
_CANCEL_S = 5.0
_TICK_S = 0.2
_LOG4J = Path(__file__).with_name("log4j2.properties")


@dataclass(frozen=True)
class SessionOptions:
    """How to reach Spark.

    log: takes what the JVM says; None leaves it on stderr.
    is_one_run: the JVM serves one run of the command line; on a local master it is tuned to start fast.
    preload: modules that the workers import while the JVM is still starting.
    archive_classes_to: where to leave an archive of the classes this session loads (`class_archive`).
    """

    master: str = "local[*]"
    driver_memory: str = "2g"
    conf: tuple[str, ...] = ()
    log: Path | None = None
    is_one_run: bool = False
    preload: tuple[str, ...] = ()
    archive_classes_to: Path | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether Spark runs in one JVM on this machine."""
        return self.master.startswith("local")

    @property
    def n_local_cores(self) -> int | None:
        """How many tasks run at a time on a local master; None on a cluster."""
        if not self.is_local:
            return None
        asked = re.match(r"local\[(\d+)", self.master)
        if asked:
            return int(asked.group(1))
        return len(os.sched_getaffinity(0)) if self.master.startswith("local[*") else 1


class Session:
    """A SparkSession on its way: starting the JVM takes seconds in which the driver can do other things.

    Where Spark already runs in this process, as in a notebook, it is borrowed, and left running at the end.
    """

    def __init__(self, options: SessionOptions) -> None:
        # Here, before the driver's other imports: they would slow down what the JVM waits for.
        from pyspark import SparkContext

        running = SparkContext._active_spark_context
        self.options = replace(options, master=str(running.master), log=None) if running else options
        self._lent_by: SparkContext | None = running
        self._job_group = f"verger-{uuid.uuid4()}"
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verger-spark")
        self._starting: Future[SparkSession] = self._pool.submit(self._open)
        self._running: Future[Any] | None = None
        self._ending: Future[None] | None = None

    def _open(self) -> SparkSession:
        if self._lent_by is None:
            return _start(self.options)
        self._lent_by.setJobGroup(self._job_group, "verger")
        return _borrow(self._lent_by, self.options)

    def spark(self) -> SparkSession:
        """Return the session, waiting for it; raises SetupError where Spark does not start."""
        return _await(self._starting, lambda: None)

    def run(self, job: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
        """Return job(), calling `tick` a few times a second meanwhile; Ctrl-C cancels its tasks.

        A VergerError raised by a worker comes out as itself.
        """
        try:
            self._running = running = self._pool.submit(job)
            return _await(running, tick)
        except VergerError:
            raise
        except Exception as error:  # py4j's and pyspark's, of many classes
            # Made into text now: a JVM that has ended can no longer be asked for it.
            raise _told_by_worker(str(error)) or self._job_error(str(error)) from None

    def _job_error(self, text: str) -> JobError:
        in_python = re.findall(r"^\w[\w.]*(?:Error|Exception|Interrupt)\b.*$", text, re.MULTILINE)
        in_java = re.findall(r"^(?:Caused by)?: (.+)$", text, re.MULTILINE)
        words = (in_python or in_java or text.strip().splitlines()[:1])[-1]
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
        while not self._starting.done():
            for process in _jvms_below():
                process.terminate()
            wait([self._starting], timeout=_TICK_S)
        if self._starting.exception() is None:
            self._end()

    def _end(self) -> None:
        spark = self._starting.result()
        if self._lent_by is None:
            spark.sparkContext.cancelAllJobs()
        else:
            self._lent_by.cancelJobGroup(self._job_group)
        if self._running is not None:  # it is told of its end by a JVM that is still there
            wait([self._running], timeout=_CANCEL_S)
        if self._lent_by is None:
            _stop(spark)


@contextmanager
def session(options: SessionOptions) -> Iterator[Session]:
    """Start Spark in the background; stop it at the end, also after Ctrl-C."""
    starting = Session(options)
    try:
        # pyspark imports it with its first word to the JVM: better now, while that starts.
        import_module("pandas")
        yield starting
    finally:
        starting.close()


def open_session(
    master: str = "local[*]", *, driver_memory: str = "2g", conf: tuple[str, ...] = ()
) -> SparkSession:
    """Return a SparkSession set up for photos, for notebooks and scripts.

    Where Spark already runs in this process it is used as it is, less its SQL settings.
    """
    from pyspark import SparkContext

    options = SessionOptions(master, driver_memory, conf)
    running = SparkContext._active_spark_context
    return _borrow(running, options) if running else _start(options)


def _await(future: Future[T], tick: Callable[[], None]) -> T:
    while True:
        try:
            return future.result(timeout=_TICK_S)
        except NotYet:
            if future.done():
                return future.result()
            tick()


def _start(options: SessionOptions) -> SparkSession:
    use_java()
    # Left to itself Spark starts the system's python3, which has none of our packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark import SparkConf, SparkContext

    conf = SparkConf(loadDefaults=False).setMaster(options.master).setAppName("verger")
    for key, value in _settings(options).items():
        conf.set(key, value)
    gateway = _launch_quietly(conf, options.log) if options.log else None
    context = SparkContext(conf=conf, gateway=gateway)
    if options.preload:
        _preload(context, options)
    from pyspark.sql import SparkSession

    return SparkSession(context)


def _borrow(context: SparkContext, options: SessionOptions) -> SparkSession:
    """Return a session of its own on a Spark that runs: its SQL settings are ours, its tables the owner's."""
    from pyspark.sql import SparkSession

    spark = SparkSession(context).newSession()
    for key, value in _settings(options).items():
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    return spark


def _preload(context: SparkContext, options: SessionOptions) -> None:
    """Start the workers and let them import what they will need, while the session is being made."""
    modules, n_cores = options.preload, options.n_local_cores or 1

    def load(rows: Iterable[int]) -> None:
        for module in modules:
            import_module(module)

    def warm() -> None:
        try:
            context.parallelize(range(n_cores), n_cores).foreachPartition(load)
        except Exception as error:  # whatever is wrong will be seen where it matters
            logger.debug("the workers could not be started early: %s", error)

    threading.Thread(target=warm, name="verger-preload", daemon=True).start()


def _launch_quietly(conf: Any, log: Path) -> Any:
    """Start the JVM with its stderr in `log`: some of its lines come before any logging can be set up."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    log.parent.mkdir(parents=True, exist_ok=True)
    _prune(log.parent)
    with log.open("ab") as sink:
        try:
            return launch_gateway(conf, popen_kwargs={"stderr": sink})  # type: ignore[no-untyped-call]
        except (PySparkRuntimeError, RuntimeError) as error:
            last = log.read_text(errors="replace").splitlines()[-5:]
            raise SetupError("Spark does not start (try `verger doctor`):\n" + "\n".join(last)) from error


def _prune(logs: Path) -> None:
    """Remove logs that nobody has written to for a week."""
    for old in logs.glob("spark-*.log"):
        with suppress(OSError):  # another run may be doing the same
            if time.time() - old.stat().st_mtime > _LOG_KEPT_S:
                old.unlink()


def _settings(options: SessionOptions) -> dict[str, str]:
    settings = {
        "spark.driver.memory": options.driver_memory,
        "spark.driver.extraJavaOptions": " ".join(_java_options(options)),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        # Arrow counts rows, not bytes: 10,000 photos or wide vectors would fill a worker.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "512",
        # Workers started early by an RDD are found again by SQL only if both are set up alike.
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
        # One thread a worker process: BLAS must not start one for every core in each of them.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    }
    if options.is_local:
        # No name look-up to talk to oneself.
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
    return settings | {key: value for key, _, value in (pair.partition("=") for pair in options.conf)}


def _java_options(options: SessionOptions) -> list[str]:
    """The JVM only moves rows here: it should start fast and leave the cores to the workers."""
    told = [] if options.log is None else [f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}"]
    if not (options.is_one_run and options.is_local):
        return told
    is_small = (options.n_local_cores or 1) <= MAX_SERIAL_GC_CORES
    told += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC" if is_small else "-XX:+UseParallelGC"]
    if options.archive_classes_to is not None:
        return [*told, f"-XX:ArchiveClassesAtExit={options.archive_classes_to}", "-Xlog:disable"]
    archive = class_archive()
    # One that does not fit any more is passed over by the JVM, which says so: nobody needs to know.
    return [*told, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.is_file() else told


def _stop(spark: SparkSession) -> None:
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    # Python may drop an object of the JVM's at any time; where that has gone py4j tells the root logger.
    logging.getLogger().addFilter(_is_not_py4j)
    try:
        _forget_accumulators(spark.sparkContext)
        spark.stop()
    finally:
        if gateway is not None:
            _end_jvm(gateway)
            SparkContext._gateway = SparkContext._jvm = None


def _is_not_py4j(record: logging.LogRecord) -> bool:
    return record.module not in ("java_gateway", "clientserver")


def _forget_accumulators(context: SparkContext) -> None:
    """Shut pyspark's server for them down beside the rest: it takes the second that its select waits."""
    server = getattr(context, "_accumulatorServer", None)
    if server is not None:
        context._accumulatorServer = None  # type: ignore[assignment]
        server.handle_error = lambda request, address: None  # the JVM hangs up first
        threading.Thread(target=server.shutdown, name="verger-accumulators", daemon=True).start()


def _end_jvm(gateway: Any) -> None:
    """The JVM ends when its standard input closes; one that does not is killed."""
    gateway.shutdown()
    process = gateway.proc
    process.stdin.close()
    deadline = time.monotonic() + _JVM_EXIT_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
        process.wait()


def _jvms_below() -> list[psutil.Process]:
    """Return the JVMs that this process has started, also where they are still shell scripts."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "pyspark-shell" in process.cmdline():
                found.append(process)
    return found


def _told_by_worker(text: str) -> VergerError | None:
    """Return the VergerError that a worker's traceback ends in, if it does."""
    match = re.search(r"^verger\.errors\.(\w+): (.*)$", text, re.MULTILINE)
    kind = getattr(errors, match.group(1), None) if match else None
    if match is None or kind is None:
        return None
    told = VergerError.__new__(kind)
    told.args = (match.group(2),)
    return told  # type: ignore[no-any-return]
