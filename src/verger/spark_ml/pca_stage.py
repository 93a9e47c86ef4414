"""`PCA` and `PCAModel`: the reduce stage as a pyspark.ml Estimator and its Model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.functions import floor
from pyspark.sql.pandas.functions import pandas_udf

from verger.engine.spark.compat import is_connect, n_slots, share
from verger.errors import ReductionError
from verger.kernel.moments import Array, Moments, merge_all
from verger.kernel.pca import Criterion, Projection, fit_exact
from verger.kernel.sketch import add_products, fit_randomized
from verger.spark_ml.pca_batches import PART, components_of, merged_groups, moments_of_batches, product_of_batches
from verger.tasks.reduction_sizes import FAN_IN

if TYPE_CHECKING:
    import pyarrow as pa

_STORED = "projection binary, moments binary"

Batches = Iterable["pa.RecordBatch"]
Partial = Callable[[Batches], Iterator["pa.RecordBatch"]]


def vectors_of(table: DataFrame, column: str) -> DataFrame:
    """Return a DataFrame with only one column, `vector`: the arrays or Spark ML vectors of `column`, as arrays."""
    return table.select(_as_array(table, column).alias("vector"))


def fit_projection(
    vectors: DataFrame, criterion: Criterion, *, standardize: bool = False
) -> tuple[Projection, Moments]:
    """Fit PCA on a column of arrays without nulls; return the projection and the moments of the vectors.

    For vectors with more than 8,192 columns the PCA uses a random sketch, in several passes. Raises ReductionError.
    """
    moments = sum_moments(vectors)
    if moments is None:
        raise ReductionError("there are no feature vectors to reduce")
    if moments.is_wide:
        return _fit_wide(vectors, moments, criterion, standardize=standardize), moments
    return fit_exact(moments, criterion, standardize=standardize), moments


def sum_moments(vectors: DataFrame) -> Moments | None:
    """Return the moments of vectors; None if there are no vectors."""

    def merge(parts: list[bytes]) -> bytes:
        return merge_all([Moments.from_bytes(part) for part in parts]).to_bytes()

    parts = _collect_tree(vectors, moments_of_batches, merge)
    return Moments.from_bytes(merge(parts)) if parts else None


def _fit_wide(vectors: DataFrame, moments: Moments, criterion: Criterion, *, standardize: bool) -> Projection:
    def product(mean: Array, scale: Array, basis: Array) -> Array:
        shared = share(vectors.sparkSession, (mean, scale, basis))

        def of_batches(batches: Batches) -> Iterator[pa.RecordBatch]:
            return product_of_batches(batches, *shared.value)

        total = add_products(_collect_tree(vectors, of_batches, add_products))
        shared.destroy()
        return np.frombuffer(total).reshape(basis.shape)

    return fit_randomized(moments, criterion, product, standardize=standardize)


def _collect_tree(vectors: DataFrame, of_batches: Partial, merge: Callable[[list[bytes]], bytes]) -> list[bytes]:
    """Compute partial results, merge them on the cluster to at most FAN_IN, and return these in a fixed order."""
    n_parts = n_slots(vectors.sparkSession)
    parts = vectors.coalesce(n_parts).mapInArrow(of_batches, PART)

    def merge_groups(batches: Batches) -> Iterator[pa.RecordBatch]:
        return merged_groups(batches, FAN_IN, merge)

    while n_parts > FAN_IN:
        n_parts = -(-n_parts // FAN_IN)
        parts = parts.repartition(n_parts, floor(parts["number"] / FAN_IN)).mapInArrow(merge_groups, PART)
    return [bytes(part) for _, part in sorted(parts.collect())]


def project(vectors: DataFrame, projection: Projection, source: str, target: str) -> DataFrame:
    """Return `vectors` with a new column `target`: the components of the column `source`. Nulls stay null."""
    shared = share(vectors.sparkSession, projection)

    def run(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for batch in batches:
            yield components_of(batch, shared.value)

    to_components = pandas_udf(run, "array<float>")  # type: ignore[call-overload]
    return vectors.withColumn(target, to_components(_as_array(vectors, source)))


def _as_array(frame: DataFrame, column: str) -> Column:
    is_vector = isinstance(frame.schema[column].dataType, VectorUDT)
    return vector_to_array(frame[column]) if is_vector else frame[column]


class _PCAParams(HasInputCol, HasOutputCol):
    """Params of PCA and PCAModel."""

    k: Param[int] = Param(Params._dummy(), "k", "number of components", TypeConverters.toInt)
    variance: Param[float] = Param(Params._dummy(), "variance", "share of variance to keep", TypeConverters.toFloat)
    standardize: Param[bool] = Param(
        Params._dummy(), "standardize", "divide by the standard deviation first", TypeConverters.toBoolean
    )

    def criterion(self) -> Criterion:
        """Return the criterion; raises SettingsError unless exactly one of k and variance is set."""
        return Criterion(
            k=self.getOrDefault(self.k) if self.isDefined(self.k) else None,
            variance=self.getOrDefault(self.variance) if self.isDefined(self.variance) else None,
        )


class PCA(Estimator["PCAModel"], _PCAParams, DefaultParamsReadable["PCA"], DefaultParamsWritable):
    """Principal component analysis of centred and optionally standardized vectors; set either `k` or `variance`.

    inputCol ("features"): array<float>, array<double> or a Spark ML vector; nulls are ignored.
    outputCol ("components"): array<float>. Spark ML's own PCA requires k, and centres vectors in fit but not in
    transform.
    """

    @keyword_only
    def __init__(
        self,
        *,
        k: int | None = None,
        variance: float | None = None,
        standardize: bool = False,
        inputCol: str = "features",
        outputCol: str = "components",
    ) -> None:
        super().__init__()
        self._setDefault(inputCol="features", outputCol="components", standardize=False)
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]  # keyword_only's

    def _fit(self, dataset: DataFrame) -> PCAModel:
        vectors = vectors_of(dataset, self.getInputCol())
        projection, moments = fit_projection(
            vectors, self.criterion(), standardize=self.getOrDefault(self.standardize)
        )
        model = PCAModel(projection, moments)
        return self._copyValues(model)


class PCAModel(Model, _PCAParams, MLReadable["PCAModel"], MLWritable):
    """A fitted PCA: `projection`, with numpy arrays, and `moments_`, to be merged with moments of new vectors."""

    def __init__(self, projection: Projection, moments: Moments | None = None) -> None:
        super().__init__()
        self._setDefault(inputCol="features", outputCol="components", standardize=False)
        self.projection, self.moments_ = projection, moments

    @property
    def explained_variance_ratio_(self) -> Array:
        """The share of variance of each component, including the components that are not kept."""
        return self.projection.explained_variance_ratio

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return project(dataset, self.projection, self.getInputCol(), self.getOutputCol())

    def write(self) -> MLWriter:
        """Return a writer, for model.write().overwrite().save(path)."""
        return _PCAModelWriter(self)

    def save(self, path: str) -> None:
        """Save to any Spark URI."""
        self.write().save(path)

    @classmethod
    def read(cls) -> MLReader[PCAModel]:
        """Return a reader."""
        return _PCAModelReader()

    @classmethod
    def load(cls, path: str) -> PCAModel:
        """Load what `save` wrote."""
        return cls.read().load(path)


def _writing_context(spark: SparkSession) -> Any:
    """Return what pyspark needs to write and read metadata.

    pyspark 3.5 requires a SparkContext; Spark Connect has none, so the session is returned.
    """
    return spark if is_connect(spark) else spark.sparkContext


class _PCAModelWriter(MLWriter):
    def __init__(self, model: PCAModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:
        DefaultParamsWriter.saveMetadata(self._model, path, _writing_context(self.sparkSession))
        moments = self._model.moments_
        row = (self._model.projection.to_bytes(), moments.to_bytes() if moments else None)
        data = self.sparkSession.createDataFrame([row], _STORED)
        data.coalesce(1).write.parquet(f"{path}/data")


class _PCAModelReader(MLReader["PCAModel"]):
    def load(self, path: str) -> PCAModel:
        metadata = DefaultParamsReader.loadMetadata(path, _writing_context(self.sparkSession))
        projection, moments = self.sparkSession.read.schema(_STORED).parquet(f"{path}/data").collect()[0]
        model = PCAModel(Projection.from_bytes(projection), moments and Moments.from_bytes(moments))
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
