"""Spark as spark-submit starts it: the cluster's settings, and what photos want besides.

By then spark-submit has said which cluster, how many executors and how large: these stay. What is set here is what
Spark cannot know: that the work is done by Python beside the heap, one thread a worker, and for how many cores the
photos are to be cut before any executor has come.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from verger.engine.spark.cluster_options import JVM_MB, WORKER_MB, cluster_cores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TOLD_TO_EXECUTORS = "spark.executorEnv."
_IN_CONTAINERS = ("yarn", "k8s")
_OVERHEAD_FACTOR, _LEAST_OVERHEAD_MB = 0.1, 384  # Spark's own
_LEAST_HEAP_MB = 1024
_UNITS_MB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


@contextmanager
def submitted() -> Iterator[SparkSession]:
    """Yield the session of a spark-submit, for verger to borrow; stop it at the end, so that its cluster knows.

    One that runs already, as on Databricks, is its platform's own to set up and to stop.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    if (running := SparkContext._active_spark_context) is not None:
        yield SparkSession(running)
        return
    SparkContext._ensure_initialized()  # SparkConf asks the JVM, where it knows one
    given = dict(SparkConf().getAll())
    set_driver_environment(given)
    builder = SparkSession.builder
    for key, value in submitted_settings(given).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def set_driver_environment(given: Mapping[str, str]) -> None:
    """Set for the driver too what `spark.executorEnv` says of stores: AWS_REGION, AZURE_STORAGE_ACCOUNT_NAME."""
    for key, value in given.items():
        name = key.removeprefix(_TOLD_TO_EXECUTORS)
        if name != key and name.startswith(("AWS_", "AZURE_")):
            os.environ.setdefault(name, value)


def submitted_settings(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is set besides the settings `given`, which stay, but for how a container is divided."""
    master = given.get("spark.master", "local")
    settings = {
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.ui.showConsoleProgress": "false",
    }
    if not master.startswith("local"):
        settings["spark.default.parallelism"] = str(cluster_cores(master, given))
    settings = {key: value for key, value in settings.items() if key not in given}
    return settings | (_divided(given) if master.startswith(_IN_CONTAINERS) else {})


def _divided(given: Mapping[str, str]) -> dict[str, str]:
    """Divide an executor's container anew: Python beside the heap does the work, and may not outgrow it.

    The container stays as large as it was, so that as many fit on a node.
    """
    if "spark.executor.memoryOverhead" in given:
        return {}
    heap = _megabytes(given.get("spark.executor.memory", "1g"))
    factor = float(given.get("spark.executor.memoryOverheadFactor", _OVERHEAD_FACTOR))
    container = heap + max(_LEAST_OVERHEAD_MB, int(heap * factor))
    overhead = JVM_MB + int(given.get("spark.executor.cores", "1")) * WORKER_MB
    if overhead <= container - heap:
        return {}
    left = max(container - overhead, min(heap, _LEAST_HEAP_MB))
    return {"spark.executor.memory": f"{left}m", "spark.executor.memoryOverhead": f"{overhead}m"}


def _megabytes(size: str) -> int:
    """Return a size as Spark writes it, 4743M or 5g, in megabytes."""
    digits = size.strip().lower().removesuffix("b")
    unit = digits[-1:] if digits[-1:] in _UNITS_MB else ""
    return int(int(digits.removesuffix(unit)) * _UNITS_MB[unit or "m"])
