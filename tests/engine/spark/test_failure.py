"""The innermost cause of failures of Spark: in texts that Spark 4.1 and Java 17 wrote, and in real failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from verger.engine.spark.failure import describe_failure

PYTHON_ERROR = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, \
most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (127.0.0.1 executor driver): \
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/site-packages/pyspark/worker.py", line 3386, in main
    process()
{error}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:645)
\tat java.base/java.lang.Thread.run(Thread.java:840)

Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.$anonfun$abortStage$2(DAGScheduler.scala:2935)
Caused by: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/site-packages/pyspark/worker.py", line 3386, in main
    process()
{error}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:645)
\t... 1 more
"""
DEAD_WORKER = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, \
most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (127.0.0.1 executor driver): \
org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting \
'spark.python.worker.faulthandler.enabled' to 'true'.
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator$$anonfun$1.applyOrElse(PythonRunner.scala:693)
Caused by: java.io.EOFException
\t... 22 more

Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.$anonfun$abortStage$2(DAGScheduler.scala:2935)
Caused by: org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting \
'spark.python.worker.faulthandler.enabled' configuration to 'true' for the better Python traceback.
Caused by: java.io.EOFException
\t... 22 more
"""
LOST_EXECUTOR = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, \
most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (10.0.0.2 executor 3): \
ExecutorLostFailure (executor 3 exited caused by one of the running tasks) Reason: Command exited with code 137
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.$anonfun$abortStage$2(DAGScheduler.scala:2935)
"""
NO_WORKER = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, \
most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (127.0.0.1 executor driver): \
org.apache.spark.SparkException:
Error from python worker:
  Could not import runpy module
  a file of the user
PYTHONPATH was:
  /site-packages/pyspark.zip
org.apache.spark.SparkException: EOFException occurred while reading the port number from pyspark.daemon's stdout.
\tat org.apache.spark.api.python.PythonWorkerFactory.startDaemon(PythonWorkerFactory.scala:331)
"""
EMPTY = ": org.apache.spark.SparkException: ;\n\tat org.apache.spark.Some(Some.scala:1)\n"
NO_START = """Picked up JAVA_TOOL_OPTIONS: -Xmxno
Invalid maximum heap size: -Xmxno
Error: Could not create the Java Virtual Machine.
Error: A fatal exception has occurred. Program will exit.
/site-packages/pyspark/bin/spark-class: line 97: CMD: bad array subscript
"""
NO_DIR = """WARNING: Using incubator modules: jdk.incubator.vector
13:04:34 ERROR DiskBlockManager: Failed to create local dir in /proc/nope. Ignoring this directory.
java.io.IOException: Failed to create a temp directory (under /proc/nope) after 10 attempts!
\tat org.apache.spark.util.SparkFileUtils.createDirectory(SparkFileUtils.scala:95)
13:04:34 ERROR DiskBlockManager: Failed to create any local dir.
"""


@pytest.mark.parametrize(
    ("text", "start", "advice"),
    [
        (PYTHON_ERROR.format(error="OSError: [Errno 5] Input/output error: '/a/b'"), "OSError: [Errno 5]", ""),
        (PYTHON_ERROR.format(error="ModuleNotFoundError: No module named 'x'"), "ModuleNotFoundError", "install"),
        (NO_WORKER, "the workers' Python does not start: Could not import runpy module; a file of", "PYTHONPATH"),
        (DEAD_WORKER, "SparkException: Python worker exited unexpectedly (crashed)", "fewer cores"),
        (LOST_EXECUTOR, "an executor was lost: Command exited with code 137", ""),
        (NO_START, "Invalid maximum heap size: -Xmxno", "JAVA_TOOL_OPTIONS"),
        (f"{EMPTY}Caused by: java.io.IOException: broken\n", "IOException: broken", ""),
        (EMPTY, "org.apache.spark.SparkException", ""),
        (": java.lang.OutOfMemoryError: Java heap space\n", "OutOfMemoryError: Java heap space", "--driver-memory"),
        ("[PATH_NOT_FOUND] There is no file:/a. SQLSTATE: 42K03\n", "[PATH_NOT_FOUND] There is no file:/a", ""),
        ('Caused by: java.io.IOException: Cannot run program "/no"\n', "IOException: Cannot", "PYSPARK_PYTHON"),
        ("/jvm/bin/spark-class: line 71: /no/java: No such file\n", "/jvm/bin/spark-class: line 71", ""),
        ("", "no cause was reported", ""),
    ],
)
def test_the_innermost_cause_is_found(text: str, start: str, advice: str) -> None:
    described = describe_failure(text)
    assert described.startswith(start) and "\n" not in described and "\tat " not in described
    assert advice in described and (";" in described) == bool(advice)


def test_the_log_has_the_cause_of_a_jvm_that_ended() -> None:
    described = describe_failure("Error while sending or receiving", NO_DIR)
    assert described.startswith("IOException: Failed to create a temp directory (under /proc/nope)")
    assert "spark.local.dir" in described


# Real failures: each start or job is one line of output.
_FAILURES = """
import os, signal, sys
from pathlib import Path
from verger.engine.spark.session import managed_session
from verger.engine.spark.spark_options import SessionOptions
from verger.errors import VergerError

def import_absent(number):
    import no_such_module

def die(number):
    os.kill(os.getpid(), signal.SIGKILL)

def read_absent(number):
    open("/no/such/file")

def attempt(name, task=None, memory="512m", conf=(), **variables):
    os.environ.update(variables)
    options = SessionOptions("local[1]", memory, conf, log=Path(sys.argv[1]) / f"{name}.log", is_one_run=True)
    try:
        with managed_session(options) as session:
            spark = session.spark()
            session.run(lambda: spark.sparkContext.parallelize([1], 1).map(task or str).collect())
        print(f"{name}: no error", flush=True)
    except VergerError as error:
        print(f"{name}: {type(error).__name__}: {error}", flush=True)
    for variable in variables:
        del os.environ[variable]

attempt("import", import_absent)
attempt("die", die)
attempt("file", read_absent)
attempt("memory", memory="lots")
attempt("class", conf=("spark.serializer=no.such.Class",))
attempt("folder", conf=("spark.local.dir=/proc/nope",))
attempt("address", conf=("spark.driver.bindAddress=203.0.113.1",))
attempt("options", JAVA_TOOL_OPTIONS="-Xmxnone")
attempt("gateway", PYSPARK_GATEWAY_PORT="1", PYSPARK_GATEWAY_SECRET="x")
attempt("leftovers", SPARK_HOME="/no/spark", PYSPARK_SUBMIT_ARGS="--master yarn", PYSPARK_PYTHON="/no/python",
        PYSPARK_DRIVER_PYTHON="jupyter", SPARK_CONF_DIR="/no/conf", JAVA_HOME="/no/java")
"""


@pytest.mark.slow
def test_real_failures_end_in_their_causes(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FAILURES, tmp_path], capture_output=True, text=True, check=True)
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    expected = {
        "import": "JobError: a Spark job failed: ModuleNotFoundError: No module named 'no_such_module'; install it",
        "die": "JobError: a Spark job failed: SparkException: Python worker exited unexpectedly (crashed); memory",
        "file": "JobError: a Spark job failed: FileNotFoundError: [Errno 2] No such file or directory: '/no/such/",
        "memory": "SetupError: Spark does not start: Invalid maximum heap size: -Xmxlots; check --driver-memory",
        "class": "SetupError: Spark does not start: ClassNotFoundException: no.such.Class; check the names",
        "folder": "SetupError: Spark does not start: IOException: Failed to create a temp directory (under /proc/",
        "address": "SetupError: Spark does not start: BindException: ",
        "options": "SetupError: Spark does not start: Invalid maximum heap size: -Xmxnone; check --driver-memory",
        "gateway": "SetupError: Spark does not start: ",
        "leftovers": "no error",
    }
    for name, text in expected.items():
        assert found[name].startswith(text), found[name]
    assert "these variables change its start: JAVA_TOOL_OPTIONS = '-Xmxnone'" in found["options"]
    assert "PYSPARK_GATEWAY_PORT = '1'" in found["gateway"]
