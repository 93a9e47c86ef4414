"""Spark's JVM: started, borrowed, stopped. The only place that builds a SparkSession."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from verger.engine.spark.java import use_java
from verger.engine.spark.spark_options import SessionOptions, spark_settings, sql_settings
from verger.errors import SetupError
from verger.storage.cache import remove_old_logs

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

_HANGS_UP_BEFORE_S = 1.0
_JVM_EXIT_S = 60.0  # an archive of classes takes a while to write
_UNUSED_EXIT_S = 5.0


def start(options: SessionOptions) -> SparkSession:
    """Start a JVM and return its session; raises SetupError."""
    if remote := os.environ.get("SPARK_REMOTE"):
        raise SetupError(f"SPARK_REMOTE = {remote!r} is set: unset it, or name that server as the master")
    use_java()
    # Left to itself Spark starts the system's python3, which has none of our packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    _end_idle_jvm()
    conf = SparkConf(loadDefaults=False).setMaster(options.spark_master).setAppName("verger")
    for key, value in spark_settings(options).items():
        conf.set(key, value)
    gateway = _launch_quietly(conf, options.log) if options.log else launch_gateway(conf)  # type: ignore[no-untyped-call]
    try:
        return _first_session(SparkContext(conf=conf, gateway=gateway), options)
    except BaseException as error:
        words = _told_by_java(error)
        _give_up(gateway)
        if words:
            raise SetupError(f"Spark does not start (try `verger doctor`): {words}") from None
        raise


def _first_session(context: SparkContext, options: SessionOptions) -> SparkSession:
    if (accumulators := getattr(context, "_accumulatorServer", None)) is not None:
        accumulators.handle_error = lambda request, address: None  # the JVM hangs up first, however it ends
    if options.preload:
        _preload(context, options)
    from pyspark.sql import SparkSession

    return SparkSession(context)


def borrow(context: SparkContext, options: SessionOptions) -> SparkSession:
    """Return a session of its own on a Spark that runs: its SQL settings are ours, its tables the owner's."""
    from pyspark.sql import SparkSession

    spark = SparkSession(context).newSession()
    for key, value in sql_settings(options).items():
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    return spark


def _preload(context: SparkContext, options: SessionOptions) -> None:
    """Start the workers and let them import what they will need, while the session is being made."""
    modules, n_cores = options.preload, options.n_cores

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
    remove_old_logs(log.parent, "spark-*.log")
    with log.open("ab") as sink:
        try:
            return launch_gateway(conf, popen_kwargs={"stderr": sink})  # type: ignore[no-untyped-call]
        except (PySparkRuntimeError, RuntimeError) as error:
            last = log.read_text(errors="replace").splitlines()[-5:]
            raise SetupError("Spark does not start (try `verger doctor`):\n" + "\n".join(last)) from error


def stop(spark: SparkSession) -> None:
    """Stop a session that `start` gave, and end its JVM."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    hush_py4j()
    try:
        _forget_accumulators(spark.sparkContext)
        with unless_killed():
            spark.stop()
    finally:
        if gateway is not None:
            _end_jvm(gateway)
            SparkContext._gateway = SparkContext._jvm = None


def hush_py4j() -> None:
    """Let py4j say nothing of a JVM that is going: it logs every word lost on it, by the root logger or its own."""
    logging.getLogger().addFilter(_is_not_py4j)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)


@contextmanager
def unless_killed() -> Iterator[None]:
    """Pass over what the JVM does not answer any more: who waits for its work is told of that anyway."""
    from py4j.protocol import Py4JError

    try:
        yield
    except (OSError, Py4JError) as error:
        logger.debug("Spark's JVM does not answer: %s", error)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    return record.module not in ("java_gateway", "clientserver")


def causes(text: str) -> list[str]:
    """Return what a Java stack trace gives as its causes, the first of them last."""
    return re.findall(r"^(?:Caused by)?: (.+)$", text, re.MULTILINE)


def _told_by_java(error: BaseException) -> str | None:
    """Return what has gone wrong in the JVM, if it has; asked of the JVM, which must be there still."""
    from py4j.protocol import Py4JJavaError

    if isinstance(error, Py4JJavaError):
        with unless_killed():
            return causes(str(error))[-1]
    return None


def _give_up(gateway: Any) -> None:
    """End a JVM whose Spark has not come up; pyspark would keep both for the next start in this process."""
    from pyspark import SparkContext

    hush_py4j()
    if SparkContext._gateway is gateway:
        if (context := SparkContext._active_spark_context) is not None:
            _forget_accumulators(context)
            context._jsc = None  # its JVM ends anyway, or has ended
            context.stop()
        SparkContext._gateway = SparkContext._jvm = None
    _end_jvm(gateway, _UNUSED_EXIT_S)


def _end_idle_jvm() -> None:
    """End the JVM of a Spark that has been stopped: pyspark would use it, dead or alive, in place of a new one."""
    from pyspark import SparkContext

    if SparkContext._active_spark_context is None and getattr(SparkContext._gateway, "proc", None) is not None:
        _give_up(SparkContext._gateway)


def _forget_accumulators(context: SparkContext) -> None:
    """Shut pyspark's server for them down beside the rest: it takes the second that its select waits."""
    server = getattr(context, "_accumulatorServer", None)
    if server is not None:
        context._accumulatorServer = None  # type: ignore[assignment]
        threading.Thread(target=server.shutdown, name="verger-accumulators", daemon=True).start()


def _end_jvm(gateway: Any, patience_s: float = _JVM_EXIT_S) -> None:
    """The JVM ends when its standard input closes; one that does not is killed. spark-submit's own stays."""
    process = gateway.proc
    if process is None:
        return
    gateway.shutdown()
    process.stdin.close()
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
        process.wait()


def has_ended() -> bool:
    """Tell whether the JVM that `start` started has gone; one that is killed hangs up a little before."""
    from pyspark import SparkContext

    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return False
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_HANGS_UP_BEFORE_S)
    return process.poll() is not None


def jvms_below() -> list[psutil.Process]:
    """Return the JVMs that this process has started, also where they are still shell scripts."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "pyspark-shell" in process.cmdline():
                found.append(process)
    return found
