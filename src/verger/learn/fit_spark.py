"""The training's vectors and regressions on Spark ML. Spark classic only: Spark Connect has no SparkContext."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from verger.engine.spark.compat import n_slots
from verger.errors import ReductionError
from verger.kernel.pca import Projection, fit_exact
from verger.learn.folds import group_of
from verger.learn.train import TOLERANCE, HeldOut, Regression, Scheme, criterion_for
from verger.learn.training_options import TrainOptions
from verger.spark_ml.pca_stage import fit_projection, project, sum_moments, vectors_of
from verger.storage.uri import any_path

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_A_BATCH = 1024

# A fit of few photos is a hundred jobs that each wait more than they work.
_FITS_AT_ONCE = 4


def read_table(spark: SparkSession, files: Sequence[str], column: str) -> DataFrame:
    """Return `path`, `label` and an array `column` of Parquet files, which the workers read by themselves.

    So files in an object store need no connector of Spark's.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            with any_path(files[number]).open("rb") as opened, pq.ParquetFile(opened) as table:
                for rows in table.iter_batches(_ROWS_A_BATCH, columns=["path", "label", column]):
                    arrays = [rows["path"], rows["label"], rows[column].cast(pa.list_(pa.float32()))]
                    yield pa.RecordBatch.from_arrays(arrays, ["path", "label", column])

    numbers = spark.range(0, len(files), 1, max(1, len(files))).coalesce(n_slots(spark))
    return numbers.mapInArrow(read, f"path string, label string, {column} array<float>")


class SparkExamples:
    """The labelled rows of a DataFrame with `path`, `label` and an array `column`."""

    def __init__(self, table: DataFrame, column: str) -> None:
        self.column = column
        self._table = table.where(sql.col("label").isNotNull() & sql.col(column).isNotNull())

    def count_labels(self) -> dict[str, int]:
        """Return the number of photos of each label."""
        return {row["label"]: row["count"] for row in self._table.groupBy("label").count().collect()}

    def find_groups(self, pattern: str) -> set[tuple[str, str]]:
        """Return the (label, group) pairs that a pattern finds in the paths."""
        find = sql.udf(lambda path: group_of(path, pattern), "string")
        pairs = self._table.select("label", find("path").alias("group")).where("`group` is not null").distinct()
        return {(row["label"], row["group"]) for row in pairs.collect()}

    @contextmanager
    def prepared(self, scheme: Scheme, options: TrainOptions) -> Iterator[SparkFitter]:
        """Standardise and project the vectors onto their `n_directions` first principal directions."""
        projection = self._fit_projection(options.n_directions)
        rows = self._prepared_rows(scheme, projection).coalesce(n_slots(self._table.sparkSession)).persist()
        try:
            yield SparkFitter(projection, rows, len(scheme.labels), options.max_iterations)
        finally:
            rows.unpersist()

    def _fit_projection(self, n_directions: int) -> Projection:
        vectors = vectors_of(self._table, self.column)
        moments = sum_moments(vectors)
        if moments is None:
            raise ReductionError("there are no feature vectors to reduce")
        criterion = criterion_for(moments, n_directions)
        if moments.is_wide:
            projection, _ = fit_projection(vectors, criterion, standardize=True)
        else:
            projection = fit_exact(moments, criterion, standardize=True)
        return replace(projection, directions=projection.directions[:n_directions])

    def _prepared_rows(self, scheme: Scheme, projection: Projection) -> DataFrame:
        """Return (turned array, features vector, class number as label, weight, fold, is_sampled)."""
        classes, weights = scheme.classes, scheme.weights
        class_of = sql.udf(lambda label: classes[label], "int")
        weight_of = sql.udf(lambda label: float(weights[label]), "double")
        fold_of = sql.udf(lambda path, label: scheme.fold_of(path, label), "int")
        return project(self._table, projection, self.column, "turned").select(
            "turned",
            array_to_vector(sql.col("turned")).alias("features"),
            class_of("label").cast("double").alias("label"),
            weight_of("label").alias("weight"),
            fold_of("path", "label").alias("fold"),
            (sql.sha2("path", 256) < scheme.sample_end).alias("is_sampled"),
        )


@dataclass(frozen=True)
class SparkFitter:
    """Spark ML's logistic regression on prepared rows."""

    projection: Projection
    rows: DataFrame
    n_classes: int
    max_iterations: int

    def folds(self) -> set[int]:
        """Return the folds that occur."""
        return {row["fold"] for row in self.rows.select("fold").distinct().collect()}

    def fit(self, regularisation: float) -> Regression:
        """Fit all photos."""
        return self._fit(self.rows, regularisation)

    def hold_out(self, tasks: Sequence[tuple[float, int]]) -> Iterator[HeldOut]:
        """Yield for each (regularisation, fold) the scores of the fold's photos by the fit of the others."""
        sample = self.rows.where("is_sampled").persist()
        context = self.rows.sparkSession.sparkContext
        job_group = context.getLocalProperty("spark.jobGroup.id") or ""

        def run(task: tuple[float, int]) -> HeldOut:
            context.setLocalProperty("spark.jobGroup.id", job_group)  # so that Ctrl-C ends these jobs too
            regularisation, fold = task
            regression = self._fit(sample.where(sql.col("fold") != fold), regularisation)
            return _score(sample.where(sql.col("fold") == fold), regression)

        try:
            with ThreadPool(_FITS_AT_ONCE) as pool:
                yield from pool.imap(run, tasks)
        finally:
            sample.unpersist()

    def _fit(self, rows: DataFrame, regularisation: float) -> Regression:
        estimator = LogisticRegression(
            weightCol="weight",
            family="multinomial",
            regParam=regularisation,
            standardization=False,
            maxIter=self.max_iterations,
            tol=TOLERANCE,
        )
        model = estimator.fit(rows)
        intercept = model.interceptVector.toArray()
        # Spark counts classes up to the highest label that it sees.
        seen = np.arange(len(intercept))
        return Regression.of_seen(model.coefficientMatrix.toArray(), intercept, seen, self.n_classes)


def _score(rows: DataFrame, regression: Regression) -> HeldOut:
    def scored(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            vectors = batch["turned"].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            column = pa.array([row.tobytes() for row in regression.logits(vectors)], pa.binary())
            yield pa.RecordBatch.from_arrays([column, batch["label"]], ["logits", "label"])

    found: list[Any] = rows.select("turned", "label").mapInArrow(scored, "logits binary, label double").collect()
    logits = np.frombuffer(b"".join(bytes(row["logits"]) for row in found), np.float32)
    truth = np.array([row["label"] for row in found], np.int64)
    return HeldOut(logits.reshape(-1, len(regression.intercept)), truth)
