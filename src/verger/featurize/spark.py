"""The featurize stage on Spark, as a function of DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql.functions import lit
from pyspark.sql.types import StructType

from verger import schema
from verger.context import share
from verger.featurize.device import CUDA, gpu_of
from verger.featurize.journal import Journal
from verger.featurize.network import Network
from verger.featurize.runtime import extractor_for
from verger.featurize.worker import WorkerOptions, featurize_batches

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Accumulator


class Counts:
    """Photos done and rejected so far, told by the workers as their tasks end (a retried task tells twice)."""

    def __init__(self, images: DataFrame) -> None:
        context = images.sparkSession.sparkContext
        self.done: Accumulator[int] = context.accumulator(0)
        self.rejected: Accumulator[int] = context.accumulator(0)

    def read(self) -> tuple[int, int]:
        """Return (done, rejected) on the driver."""
        return self.done.value, self.rejected.value


def featurize(
    images: DataFrame,
    network: Network,
    options: WorkerOptions,
    counts: Counts | None = None,
    journal: Journal | None = None,
) -> DataFrame:
    """Return `images` less their content, plus schema.OUTCOME: features, or the reason why not.

    Lazy. The weights travel once (`context.share`), and are compiled once in each worker process; on GPUs once for
    each that the process meets. There a task decodes in as many threads as Spark gives it cores (spark.task.cpus).
    """
    spark = images.sparkSession
    shared, recalled = share(spark, network.for_workers()), share(spark, journal)
    key, is_on_gpu = network.key, network.device == CUDA
    # The closure holds nothing of this module: the workers need not import it.
    told = (counts.done, counts.rejected) if counts else ()

    def report(*numbers: int) -> None:
        for accumulator, number in zip(told, numbers, strict=False):
            accumulator.add(number)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        task = TaskContext.get()
        assert task is not None
        extractor = extractor_for(key, lambda: shared.value, gpu_of(task) if is_on_gpu else 0)
        n_threads = task.cpus() if is_on_gpu else 1
        # A photo may have ended the first attempt, process and all.
        here = replace(options, n_threads=n_threads, decodes_apart=task.attemptNumber() > 0)
        kept = recalled.value and replace(recalled.value, task=task.partitionId())
        return featurize_batches(batches, extractor, here, report, kept)

    return images.mapInArrow(run, _output_schema(images, options))


def _output_schema(images: DataFrame, options: WorkerOptions) -> StructType:
    added = schema.types(schema.OUTCOME)
    names = [options.output_column if name == "features" else name for name in added]
    nulls = [lit(None).cast(kind).alias(name) for name, kind in zip(names, added.values(), strict=True)]
    return images.drop(options.content_column).select("*", *nulls).schema
