"""The operations of a SparkContext that verger needs, also for Spark Connect, where there is no SparkContext."""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import SparkSession

T = TypeVar("T")

_MANY_ROWS = 4096

_sent: WeakKeyDictionary[SparkSession, set[str]] = WeakKeyDictionary()


def is_connect(spark: SparkSession) -> bool:
    """Return whether the session is a Spark Connect session."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def is_local(spark: SparkSession) -> bool:
    """Return whether the workers are on this machine and can read its folders."""
    return not is_connect(spark) and str(spark.sparkContext.master).startswith("local")


def n_slots(spark: SparkSession) -> int:
    """Return the number of tasks that run at the same time."""
    if not is_connect(spark):
        return spark.sparkContext.defaultParallelism
    from pyspark.sql.functions import spark_partition_id

    # Spark Connect has no API for this number, but a range has the same number of partitions.
    return spark.range(_MANY_ROWS).select(spark_partition_id()).distinct().count()


def share(spark: SparkSession, value: T) -> Broadcast[T] | Artifact[T]:
    """Send a value to each worker once; tasks read it from the attribute `value` of the returned object."""
    if not is_connect(spark):
        return spark.sparkContext.broadcast(value)
    data = pickle.dumps(value)
    name = f"verger-{hashlib.sha256(data).hexdigest()}"
    sent = _sent.setdefault(spark, set())
    if name not in sent:
        with tempfile.TemporaryDirectory(prefix="verger-") as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            spark.addArtifact(str(file), file=True)
        sent.add(name)
    return Artifact(name)


class Artifact(Generic[T]):
    """A value that Spark Connect sends to every worker as a file; used instead of a Broadcast."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def value(self) -> T:
        """The value; only workers can read it."""
        from pyspark import SparkFiles

        return cast(T, pickle.loads(Path(SparkFiles.get(self._name)).read_bytes()))  # noqa: S301  # written by `share`

    def destroy(self) -> None:
        """Do nothing: the server removes artifacts when the session ends."""


def pyspark_version() -> str:
    """Return the version of the imported pyspark. A cluster's pyspark may have no package metadata."""
    from pyspark import __version__

    return str(__version__)
