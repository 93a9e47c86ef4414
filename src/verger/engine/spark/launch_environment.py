"""The environment variables with which Spark's JVM starts.

Variables that were set for another Spark (SPARK_HOME, PYSPARK_PYTHON, PYSPARK_SUBMIT_ARGS and others) must not
change a run. verger ignores variables that do not fit, and shows a warning. On YARN and Kubernetes a SPARK_HOME
that does not fit is an error, because the cluster may need it.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from verger.engine.spark.installation import spark_home, spark_home_problem
from verger.errors import SetupError

logger = logging.getLogger(__name__)

# Variables that Spark and Java read when they start. If Spark does not start, the error names those that are set.
INFLUENTIAL = (
    *("SPARK_CONF_DIR", "SPARK_LOCAL_DIRS", "SPARK_DRIVER_MEMORY", "SPARK_DIST_CLASSPATH"),
    *("PYSPARK_GATEWAY_PORT", "HADOOP_CONF_DIR", "YARN_CONF_DIR"),
    *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
)

_PLAIN_SUBMIT = "pyspark-shell"
_UTF8_LOCALE = "C.UTF-8"


@dataclass(frozen=True)
class Leftover:
    """An environment variable that does not fit this Spark. note: why, with its value."""

    name: str
    note: str


def find_leftovers(*, is_local: bool) -> list[Leftover]:
    """Return the variables that do not fit. is_local: whether the workers are processes on this machine."""
    found = []
    if problem := spark_home_problem():
        found.append(Leftover("SPARK_HOME", problem))
    if os.environ.get("PYSPARK_SUBMIT_ARGS", _PLAIN_SUBMIT).strip() not in ("", _PLAIN_SUBMIT):
        value = os.environ["PYSPARK_SUBMIT_ARGS"]
        found.append(Leftover("PYSPARK_SUBMIT_ARGS", f"PYSPARK_SUBMIT_ARGS = {value!r}: use --conf KEY=VALUE"))
    python = os.environ.get("PYSPARK_PYTHON")
    if is_local and python and not _is_this_python(python):
        note = f"PYSPARK_PYTHON = {python!r}: on this machine the workers use {sys.executable}"
        found.append(Leftover("PYSPARK_PYTHON", note))
    return found


@contextmanager
def launch_environment(*, is_local: bool, is_managed: bool) -> Iterator[None]:
    """Set the variables for the start of the JVM during the block, and PYSPARK_PYTHON for the whole process.

    is_managed: whether YARN or Kubernetes manages the executors. SPARK_HOME may then hold settings of the cluster,
    so a SPARK_HOME that does not fit raises SetupError.
    """
    for leftover in find_leftovers(is_local=is_local):
        if is_managed and leftover.name == "SPARK_HOME":
            raise SetupError(f"{leftover.note}: set it to a Spark of the same version, or unset it")
        logger.warning("ignored: %s", leftover.note)
    # Without this variable, Spark starts the system's python3, which lacks our packages.
    if is_local or not os.environ.get("PYSPARK_PYTHON"):
        os.environ["PYSPARK_PYTHON"] = sys.executable
    given = {
        "SPARK_HOME": str(spark_home()),
        "PYSPARK_SUBMIT_ARGS": _PLAIN_SUBMIT,
        "PYSPARK_DRIVER_PYTHON": None,
        # With an address, Spark does not look up this machine's name, which may not resolve.
        **({"SPARK_LOCAL_IP": os.environ.get("SPARK_LOCAL_IP") or "127.0.0.1"} if is_local else {}),
        **_locale(),
    }
    with _replaced(given):
        yield


def influential_variables() -> str:
    """Return the variables that change the start of Spark, as text for an error; empty if none is set."""
    found = [f"{name} = {value!r}" for name in INFLUENTIAL if (value := os.environ.get(name))]
    return f"; these variables change its start: {', '.join(found)}" if found else ""


def _is_this_python(program: str) -> bool:
    path = shutil.which(program)  # python and python3 of an environment are the same program
    return path is not None and Path(path).absolute().parent == Path(sys.executable).absolute().parent


def _locale() -> dict[str, str]:
    """Return variables that select a UTF-8 locale if none is selected: without it Java reads only ASCII paths."""
    selected = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    return {} if "utf" in selected.lower() else {"LC_ALL": _UTF8_LOCALE}


@contextmanager
def _replaced(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables during the block; None removes a variable."""
    earlier = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(earlier)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
