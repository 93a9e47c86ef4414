"""Start and stop Spark's JVM, and create a SparkSession on this JVM or on a running SparkContext."""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from verger.engine.spark.failure import describe_failure
from verger.engine.spark.java import use_java
from verger.engine.spark.launch_environment import influential_variables, launch_environment
from verger.engine.spark.spark_options import SessionOptions, spark_settings, sql_settings
from verger.errors import SetupError
from verger.storage.cache import remove_old_logs

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

# A killed JVM closes its connections first, and its process ends within this time.
_EXIT_DELAY_S = 1.0
_JVM_EXIT_S = 60.0  # writing an archive of classes takes long
_UNUSED_EXIT_S = 5.0


def start(options: SessionOptions) -> SparkSession:
    """Start a JVM and return its session; raises SetupError."""
    if remote := os.environ.get("SPARK_REMOTE"):
        raise SetupError(f"SPARK_REMOTE = {remote!r} is set: unset it, or use --master {remote}")
    _check_user()
    use_java()
    from pyspark import SparkConf, SparkContext

    _end_idle_jvm()
    conf = SparkConf(loadDefaults=False).setMaster(options.spark_master).setAppName("verger")
    for key, value in spark_settings(options).items():
        conf.set(key, value)
    with launch_environment(is_local=options.is_local, is_managed=options.is_managed):
        gateway = _launch(conf, options.log)
    try:
        return _first_session(SparkContext(conf=conf, gateway=gateway), options)
    except Exception as error:  # py4j and pyspark raise many classes
        text = _text_of(error)
        _discard(gateway)
        raise _start_error(text, options.log) from None
    except BaseException:
        _discard(gateway)
        raise


def _check_user() -> None:
    """Raise SetupError if this user has no entry in /etc/passwd: Spark's Java would fail to log in."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        raise SetupError(
            f"uid {os.getuid()} has no entry in /etc/passwd, but Java needs one: add it, or use --engine local"
        ) from None


def _text_of(error: Exception) -> str:
    """Return the text of an error; py4j reads it from the JVM, which may have ended."""
    with ignore_dead_jvm():
        return str(error)
    return type(error).__name__


def _start_error(text: str, log: Path | None) -> SetupError:
    printed = log.read_text(errors="replace") if log is not None and log.is_file() else ""
    cause = describe_failure(text, printed)
    return SetupError(f"Spark does not start: {cause}{influential_variables()} (try `verger doctor`)")


def _first_session(context: SparkContext, options: SessionOptions) -> SparkSession:
    if (accumulators := getattr(context, "_accumulatorServer", None)) is not None:
        accumulators.handle_error = lambda request, address: None  # prevents a traceback when the JVM disconnects
    if options.preload:
        _preload(context, options)
    from pyspark.sql import SparkSession

    return SparkSession(context)


def borrow(context: SparkContext, options: SessionOptions) -> SparkSession:
    """Return a new session on a running SparkContext, with separate SQL settings but the same tables."""
    from pyspark.sql import SparkSession

    spark = SparkSession(context).newSession()
    for key, value in sql_settings(options).items():
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    return spark


def _preload(context: SparkContext, options: SessionOptions) -> None:
    """Start the workers in the background and make them import the modules that they will need."""
    modules, n_cores = options.preload, options.n_cores

    def load(rows: Iterable[int]) -> None:
        for module in modules:
            import_module(module)

    def warm() -> None:
        try:
            context.parallelize(range(n_cores), n_cores).foreachPartition(load)
        except Exception as error:  # the first real job will raise it again
            logger.debug("the workers could not be started early: %s", error)

    threading.Thread(target=warm, name="verger-preload", daemon=True).start()


def _launch(conf: Any, log: Path | None) -> Any:
    """Start the JVM with its stderr redirected to `log`: the JVM prints lines before its logging is configured.

    log: None leaves the JVM's stderr as it is.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        remove_old_logs(log.parent, "spark-*.log")
    with log.open("ab") if log is not None else nullcontext() as sink:
        try:
            return launch_gateway(conf, popen_kwargs={"stderr": sink})  # type: ignore[no-untyped-call]
        except (PySparkRuntimeError, RuntimeError, Py4JError, OSError) as error:
            raise _start_error(_text_of(error), log) from error


def stop(spark: SparkSession) -> None:
    """Stop a session that `start` has returned, and end its JVM."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    silence_py4j()
    try:
        _stop_accumulator_server(spark.sparkContext)
        with ignore_dead_jvm():
            spark.stop()
    finally:
        if gateway is not None:
            _end_jvm(gateway)
            SparkContext._gateway = SparkContext._jvm = None


def silence_py4j() -> None:
    """Suppress py4j's log messages about a JVM that ends, in py4j's own logger and in the root logger."""
    logging.getLogger().addFilter(_is_not_py4j)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)


@contextmanager
def ignore_dead_jvm() -> Iterator[None]:
    """Ignore errors from a JVM that no longer answers: code that waits for a job raises an error in any case."""
    from py4j.protocol import Py4JError

    try:
        yield
    except (OSError, Py4JError) as error:
        logger.debug("Spark's JVM does not answer: %s", error)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    return record.module not in ("java_gateway", "clientserver")


def _discard(gateway: Any) -> None:
    """End a JVM whose Spark did not start or has stopped. Otherwise pyspark would use it again in this process."""
    from pyspark import SparkContext

    silence_py4j()
    if SparkContext._gateway is gateway:
        if (context := SparkContext._active_spark_context) is not None:
            _stop_accumulator_server(context)
            context._jsc = None  # `stop` must not call the JVM, which has ended or is ended below
            context.stop()
        SparkContext._gateway = SparkContext._jvm = None
    _end_jvm(gateway, _UNUSED_EXIT_S)


def _end_idle_jvm() -> None:
    """End the JVM of a stopped SparkContext. Otherwise pyspark would use the JVM again, even if it has ended."""
    from pyspark import SparkContext

    if SparkContext._active_spark_context is None and getattr(SparkContext._gateway, "proc", None) is not None:
        _discard(SparkContext._gateway)


def _stop_accumulator_server(context: SparkContext) -> None:
    """Stop pyspark's accumulator server in the background, because this takes up to a second."""
    server = getattr(context, "_accumulatorServer", None)
    if server is not None:
        context._accumulatorServer = None  # type: ignore[assignment]
        threading.Thread(target=server.shutdown, name="verger-accumulators", daemon=True).start()


def _end_jvm(gateway: Any, patience_s: float = _JVM_EXIT_S) -> None:
    """Close the JVM's standard input, which ends the JVM; kill a JVM that does not end in time.

    A JVM that spark-submit started has no `gateway.proc`, and keeps running.
    """
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
    """Return whether the JVM that `start` started has ended."""
    from pyspark import SparkContext

    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return False
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_EXIT_DELAY_S)
    return process.poll() is not None


def child_jvms() -> list[psutil.Process]:
    """Return the JVMs that this process has started, including JVMs whose start script still runs."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "pyspark-shell" in process.cmdline():
                found.append(process)
    return found
