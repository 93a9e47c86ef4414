"""The featurize stage on Spark: a function for the chain, a Transformer for everybody's pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql.types import StructField, StructType

from verger import schema
from verger.decode import DEFAULT_MAX_PIXELS
from verger.featurize.catalog import NetworkSpec
from verger.featurize.network import Network, prepare_network
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
    images: DataFrame, network: Network, options: WorkerOptions, counts: Counts | None = None
) -> DataFrame:
    """Return `images` less their content, plus schema.OUTCOME: features, or the reason why not.

    Lazy. The weights travel once, as a broadcast, and are compiled once in each worker process.
    """
    shared = images.sparkSession.sparkContext.broadcast(network)
    key = network.key
    told = counts or Counts(images)
    # The closure holds nothing of this module: a worker then starts without importing pyspark.ml.
    done, rejected = told.done, told.rejected

    def report(n_done: int, n_rejected: int) -> None:
        done.add(n_done)
        rejected.add(n_rejected)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        extractor = extractor_for(key, lambda: shared.value)
        return featurize_batches(batches, extractor, options, report)

    return images.mapInArrow(run, _output_schema(images, options))


def _output_schema(images: DataFrame, options: WorkerOptions) -> StructType:
    kept = [field for field in images.schema if field.name != options.content_column]
    added = [
        StructField(options.output_column if field.name == "features" else field.name, field.dataType)
        for field in cast(StructType, StructType.fromDDL(schema.OUTCOME))
    ]
    return StructType(kept + added)


class ImageFeaturizer(
    Transformer, HasInputCol, HasOutputCol, DefaultParamsReadable["ImageFeaturizer"], DefaultParamsWritable
):
    """Photos -> feature vectors: array<float>, null where the photo could not be decoded.

    Reads the bytes in `inputCol` ("content"), as Spark's `binaryFile` gives them, and drops that column; a
    DataFrame without it is read by `pathCol` ("path"), by the workers themselves. Adds sha256, width and
    height in pixels (upright), `outputCol` ("features"), reason and detail (null where all is well).

    model, weights, pooling, precision, preprocessing: see `verger models` and NetworkSpec.
    maxPixels: larger photos are rejected before they are unpacked.
    """

    model: Param[str] = Param(Params._dummy(), "model", "name in the catalog", TypeConverters.toString)
    weights: Param[str] = Param(
        Params._dummy(), "weights", "imagenet, random:SEED or a file", TypeConverters.toString
    )
    pooling: Param[str] = Param(Params._dummy(), "pooling", "avg, max or flatten", TypeConverters.toString)
    precision: Param[str] = Param(Params._dummy(), "precision", "f32 or bf16", TypeConverters.toString)
    preprocessing: Param[str] = Param(
        Params._dummy(),
        "preprocessing",
        "none, tf, caffe or torch; unset: the model's",
        TypeConverters.toString,
    )
    maxPixels: Param[int] = Param(Params._dummy(), "maxPixels", "limit on a photo's pixels", TypeConverters.toInt)
    pathCol: Param[str] = Param(
        Params._dummy(), "pathCol", "path column, used where inputCol is absent", TypeConverters.toString
    )

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str = "content",
        outputCol: str = "features",
        pathCol: str = "path",
        model: str = "MobileNetV2",
        weights: str = "imagenet",
        pooling: str = "avg",
        precision: str = "f32",
        preprocessing: str | None = None,
        maxPixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        super().__init__()
        self._setDefault(
            inputCol="content",
            outputCol="features",
            pathCol="path",
            model="MobileNetV2",
            weights="imagenet",
            pooling="avg",
            precision="f32",
            maxPixels=DEFAULT_MAX_PIXELS,
        )
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]  # keyword_only's

    def spec(self) -> NetworkSpec:
        """Return the network asked for; raises SettingsError."""
        names = ("model", "weights", "pooling", "precision")
        chosen: dict[str, Any] = {name: self.getOrDefault(name) for name in names}
        if self.isDefined(self.preprocessing):
            chosen["preprocessing"] = self.getOrDefault(self.preprocessing)
        return NetworkSpec(**chosen)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        options = WorkerOptions(
            max_pixels=self.getOrDefault(self.maxPixels),
            content_column=self.getInputCol(),
            path_column=self.getOrDefault(self.pathCol),
            output_column=self.getOutputCol(),
        )
        return featurize(dataset, prepare_network(self.spec()), options)
