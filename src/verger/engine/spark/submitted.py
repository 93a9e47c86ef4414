"""Sessions in a driver that spark-submit starts, and the settings that verger adds to those of spark-submit.

verger does not change the master, nor the number and size of the executors. It adds settings for what Spark cannot
know: each Python worker needs one thread, and memory in addition to the heap; and verger must know the number of
cores before executors start, to partition the photos.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from verger.engine.spark.cluster_options import JVM_MB, WORKER_MB, cluster_cores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_EXECUTOR_VARIABLE = "spark.executorEnv."
_IN_CONTAINERS = ("yarn", "k8s")
_OVERHEAD_FACTOR, _LEAST_OVERHEAD_MB = 0.1, 384  # Spark's defaults
_LEAST_HEAP_MB = 1024
_UNITS_MB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


@contextmanager
def submitted() -> Iterator[SparkSession]:
    """Yield the session of a spark-submit, and stop it when the block ends: then the cluster ends the application.

    If a session already runs, as on Databricks, yield it unchanged; the platform stops it.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    if (running := SparkContext._active_spark_context) is not None:
        yield SparkSession(running)
        return
    SparkContext._ensure_initialized()  # starts the JVM; SparkConf reads the settings of spark-submit from it
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
    """Set in the driver the variables of object stores, such as AWS_REGION, that `spark.executorEnv` sets."""
    for key, value in given.items():
        name = key.removeprefix(_EXECUTOR_VARIABLE)
        if name != key and name.startswith(("AWS_", "AZURE_")):
            os.environ.setdefault(name, value)


def submitted_settings(given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings to add to `given`. Only the settings that divide a container's memory are overridden."""
    master = given.get("spark.master", "local")
    settings = {
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.PYTHONSAFEPATH": "1",
        "spark.ui.showConsoleProgress": "false",
    }
    if not master.startswith("local"):
        settings["spark.default.parallelism"] = str(cluster_cores(master, given))
    settings = {key: value for key, value in settings.items() if key not in given}
    return settings | (_split_memory(given) if master.startswith(_IN_CONTAINERS) else {})


def _split_memory(given: Mapping[str, str]) -> dict[str, str]:
    """Return settings that move memory of an executor's container from the heap to the Python workers.

    The size of the container does not change, so that the same number of containers fits on a node.
    """
    if "spark.executor.memoryOverhead" in given:
        return {}
    heap = _megabytes(given.get("spark.executor.memory", "1g"))
    factor = float(given.get("spark.executor.memoryOverheadFactor", _OVERHEAD_FACTOR))
    container = heap + max(_LEAST_OVERHEAD_MB, int(heap * factor))
    overhead = JVM_MB + int(given.get("spark.executor.cores", "1")) * WORKER_MB
    if overhead <= container - heap:
        return {}
    new_heap = max(container - overhead, min(heap, _LEAST_HEAP_MB))
    return {"spark.executor.memory": f"{new_heap}m", "spark.executor.memoryOverhead": f"{overhead}m"}


def _megabytes(size: str) -> int:
    """Return a size in Spark's notation, such as 4743M or 5g, in megabytes."""
    digits = size.strip().lower().removesuffix("b")
    unit = digits[-1:] if digits[-1:] in _UNITS_MB else ""
    return int(int(digits.removesuffix(unit)) * _UNITS_MB[unit or "m"])
