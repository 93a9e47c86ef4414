"""Featurize a DataFrame of photos, for `ImageFeaturizer`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql.functions import lit
from pyspark.sql.types import StructType

from verger.engine.spark.compat import share
from verger.kernel.networks.device import CUDA, gpu_of
from verger.kernel.networks.inference import cached_extractor
from verger.kernel.networks.network import Network
from verger.storage import schemas
from verger.tasks.featurize_batches import WorkerOptions, featurize_batches

if TYPE_CHECKING:
    import pyarrow as pa


def featurize(images: DataFrame, network: Network, options: WorkerOptions) -> DataFrame:
    """Return `images` without the content column, and with the columns of schemas.OUTCOME: features, or a reason.

    Spark computes them only when the DataFrame is used. Each worker receives the network once (`compat.share`), and
    compiles it once per process, or once per GPU. On a GPU a task decodes in as many threads as it has cores
    (spark.task.cpus).
    """
    shared = share(images.sparkSession, network.for_workers())
    key, is_on_gpu = network.key, network.device == CUDA

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        task = TaskContext.get()
        assert task is not None
        extractor = cached_extractor(key, lambda: shared.value, gpu_of(task) if is_on_gpu else 0)
        n_threads = task.cpus() if is_on_gpu else 1
        # On a second attempt decode in a child: a photo may have killed the process of the first attempt.
        task_options = replace(options, n_threads=n_threads, decodes_in_child=task.attemptNumber() > 0)
        return featurize_batches(batches, extractor, task_options)

    return images.mapInArrow(run, _output_schema(images, options))


def _output_schema(images: DataFrame, options: WorkerOptions) -> StructType:
    nulls = [
        lit(None)
        .cast(schemas.spark_type(field.type))
        .alias(options.output_column if field.name == "features" else field.name)
        for field in schemas.OUTCOME
    ]
    return images.drop(options.content_column).select("*", *nulls).schema
