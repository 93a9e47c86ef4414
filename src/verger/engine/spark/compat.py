"""The little that verger asks of a SparkContext; Spark Connect, which has none, is asked by its own means."""

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
    """Tell whether the session is one of Spark Connect."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def is_local(spark: SparkSession) -> bool:
    """Tell whether the workers are on this machine: they see its folders."""
    return not is_connect(spark) and str(spark.sparkContext.master).startswith("local")


def n_slots(spark: SparkSession) -> int:
    """Return how many tasks run at a time."""
    if not is_connect(spark):
        return spark.sparkContext.defaultParallelism
    from pyspark.sql.functions import spark_partition_id

    # Connect does not tell; but a range is cut into as many parts.
    return spark.range(_MANY_ROWS).select(spark_partition_id()).distinct().count()


def share(spark: SparkSession, value: T) -> Broadcast[T] | Artifact[T]:
    """Send a value to the workers once, however many tasks will ask for its `value`."""
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
    """A value in a file that Spark Connect lays beside every worker: as much of a Broadcast as is used here."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def value(self) -> T:
        """The value, in a worker."""
        from pyspark import SparkFiles

        return cast(T, pickle.loads(Path(SparkFiles.get(self._name)).read_bytes()))  # noqa: S301  # share's own

    def destroy(self) -> None:
        """Do nothing: a session keeps its artifacts until it ends."""


def pyspark_version() -> str:
    """Return the version of the running pyspark; on a cluster it may not be installed by pip."""
    from pyspark import __version__

    return str(__version__)
