"""Find the innermost cause of a failure of Spark, and describe it in one line.

Spark wraps an error many times: a Python traceback in a Java exception in a "Job aborted" in a Py4JJavaError. The
innermost cause is the last error of the Python traceback if there is one, otherwise the last Java cause that has a
message.
"""

from __future__ import annotations

import re
import textwrap

from verger.process.traceback_text import innermost_error

_JAVA_CAUSE = re.compile(r"^(?:Caused by)?: (.+)$", re.MULTILINE)
_JAVA_ERROR = re.compile(r"^(?:Exception in thread \"[^\"]*\" )?((?:[a-z_]\w*\.)+[A-Z]\w*(?:: .*)?)$", re.MULTILINE)
_CLASS = re.compile(r"^((?:[a-z_]\w*\.)+)([A-Z][\w$]*)(?::\s*(.*))?$")

_LOST_EXECUTOR = re.compile(r"ExecutorLostFailure \(.*?\) Reason: (.+?)(?: in stage|$)", re.MULTILINE)
_WORKER_START = re.compile(r"Error from python worker:\n((?:[ \t]+.*\n)+)")
_STAGE_FAILURE = re.compile(r"Job aborted due to stage failure: (?:.*?Lost task [^:]*?\): )?(.+)")

# Lines that the JVM itself prints to stderr when it cannot start.
_JVM_ERRORS = re.compile(
    r"^(?:Error: (?!Could not create the Java Virtual Machine|A fatal exception)|Error occurred during|"
    r".*/spark-class: line \d+: (?!CMD:)|Unrecognized|Invalid |There is insufficient memory|Could not reserve|"
    r"Initial heap|Error opening).*$",
    re.MULTILINE,
)

# Pairs of a pattern that matches a cause, and the advice for users.
_ADVICE = (
    (r"Cannot run program", "set PYSPARK_PYTHON to the Python on the workers that has verger"),
    (r"Python does not start", "check PYSPARK_PYTHON and PYTHONPATH"),
    (r"No module named", "install it in the Python of the workers (PYSPARK_PYTHON)"),
    (r"different (minor )?version|VERSION_MISMATCH", "PYSPARK_PYTHON must have the same version of Python"),
    (r"Python worker exited unexpectedly", "memory may have run out: use fewer cores, as in --master local[2]"),
    (r"UnknownHostException", "add this machine's name to /etc/hosts, or set SPARK_LOCAL_IP=127.0.0.1"),
    (
        r"BindException|Address already in use",
        "check SPARK_LOCAL_IP and --conf spark.driver.port, .host, .bindAddress",
    ),
    (
        r"invalid null input: name",
        "Java needs an entry of this user in /etc/passwd: add one, or use --engine local",
    ),
    (r"OutOfMemoryError|GC overhead|System memory \d+ must be", "use a higher --driver-memory"),
    (r"heap size|insufficient memory|reserve enough space", "check --driver-memory and JAVA_TOOL_OPTIONS"),
    (r"Unrecognized (VM )?option", "check JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS and spark.driver.extraJavaOptions"),
    (r"ClassNotFoundException|NoClassDefFoundError", "check the names of classes and --conf spark.jars"),
    (r"temp directory|local dir", "choose another folder: --conf spark.local.dir=FOLDER, or SPARK_LOCAL_DIRS"),
    (
        r"UnsatisfiedLinkError|failed to map segment",
        "programs are not allowed in /tmp: set TMPDIR to another folder",
    ),
)


def describe_failure(text: str, log: str = "") -> str:
    """Return the innermost cause in the text of an error, with advice for known causes.

    log: the JVM's output. It contains the cause if the JVM ended before it could report an error.
    """
    cause = _find_cause(text) or _find_cause(log) or _first_line(text)
    cause = cause.partition(" Consider ")[0].rstrip(" .;")
    advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, cause)), None)
    return f"{cause}; {advice}" if advice else cause


def _find_cause(text: str) -> str | None:
    return _worker_start(text) or innermost_error(text) or _lost_executor(text) or _java_cause(text)


def _worker_start(text: str) -> str | None:
    """Return what a worker's Python printed if it did not start."""
    if not (match := _WORKER_START.search(text)):
        return None
    printed = textwrap.dedent(match[1]).strip()
    cause = innermost_error(printed) or "; ".join(line.strip() for line in printed.splitlines()[-2:])
    return f"the workers' Python does not start: {cause}"


def _lost_executor(text: str) -> str | None:
    match = _LOST_EXECUTOR.search(text)
    return f"an executor was lost: {match[1].strip()}" if match else None


def _java_cause(text: str) -> str | None:
    """Return the last Java cause that has a message, or the JVM's own message if it did not start."""
    if match := _JVM_ERRORS.search(text):
        return match[0].strip()
    causes = _JAVA_CAUSE.findall(text) or _JAVA_ERROR.findall(text)
    return next(filter(None, map(_cause_text, reversed(causes))), None)


def _cause_text(cause: str) -> str | None:
    """Return "Class: message" without the class's package; None if there is no message."""
    match = _CLASS.match(cause.strip())
    name, message = (match[2], match[3] or "") if match else ("", cause)
    if match := _STAGE_FAILURE.search(message):
        return _cause_text(match[1])
    message = message.strip(" ;")
    return f"{name}: {message}" if message and name else message or None


def _first_line(text: str) -> str:
    lines = [line.strip(" :") for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no cause was reported"
