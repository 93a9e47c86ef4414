"""Read training data and fit regressions with Spark ML; not on Spark Connect, which has no SparkContext."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from verger.engine.spark.compat import n_slots
from verger.errors import ReductionError
from verger.kernel.classifier.folds import group_of
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.classifier.transforms import NONE, transform
from verger.kernel.pca import Projection, fit_exact
from verger.learn.train import TOLERANCE, HeldOutScores, Regression, criterion_for
from verger.learn.training_options import TrainOptions
from verger.spark_ml.pca_stage import fit_projection, project, sum_moments, vectors_of
from verger.storage.parquet import open_parquet
from verger.storage.uri import any_path
from verger.tasks.vector_columns import check_finite, map_vectors, matrix_of

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_BATCH = 1024
# Number of fits at the same time: a fit on few photos consists of a hundred short Spark jobs, which mostly wait.
_FITS_AT_ONCE = 4


def read_table(spark: SparkSession, files: Sequence[str], column: str, transform_name: str = NONE) -> DataFrame:
    """Return a DataFrame with the columns `path`, `label` and `column` (an array, transformed) of Parquet files.

    The workers read the files with pyarrow, so that object stores need no Hadoop connector.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            with open_parquet(any_path(files[number])) as table:
                for rows in table.iter_batches(_ROWS_PER_BATCH, columns=["path", "label", column]):
                    vectors = rows[column].cast(pa.list_(pa.float32()))
                    if len(valid := vectors.drop_null()):
                        matrix = matrix_of(valid)
                        check_finite(matrix, column, files[number])
                        vectors = map_vectors(vectors, partial(transform, transform_name), matrix.shape[1])
                    arrays = [rows["path"], rows["label"], vectors]
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
        """Return the set of (label, group) pairs of the photos, except photos whose path has no group."""
        find = sql.udf(lambda path: group_of(path, pattern), "string")
        pairs = self._table.select("label", find("path").alias("group")).where("`group` is not null").distinct()
        return {(row["label"], row["group"]) for row in pairs.collect()}

    @contextmanager
    def prepare(self, plan: TrainingPlan, options: TrainOptions) -> Iterator[SparkFitter]:
        """Standardise and project the vectors onto their `n_directions` first principal directions."""
        projection = self._fit_projection(options.n_directions)
        rows = self._prepare_rows(plan, projection).coalesce(n_slots(self._table.sparkSession)).persist()
        try:
            yield SparkFitter(projection, rows, len(plan.labels), options.max_iterations)
        finally:
            rows.unpersist()

    def _fit_projection(self, n_directions: int) -> Projection:
        vectors = vectors_of(self._table, self.column)
        moments = sum_moments(vectors)
        if moments is None:
            raise ReductionError("no labelled vectors to train on")
        criterion = criterion_for(moments, n_directions)
        if moments.is_wide:
            projection, _ = fit_projection(vectors, criterion, standardize=True)
        else:
            projection = fit_exact(moments, criterion, standardize=True)
        return replace(projection, directions=projection.directions[:n_directions])

    def _prepare_rows(self, plan: TrainingPlan, projection: Projection) -> DataFrame:
        """Return projected (array), features (vector), label (class number), weight, fold and is_sampled."""
        classes, weights = plan.classes, plan.weights
        class_of = sql.udf(lambda label: classes[label], "int")
        weight_of = sql.udf(lambda label: float(weights[label]), "double")
        fold_of = sql.udf(lambda path, label: plan.fold_of(path, label), "int")
        return project(self._table, projection, self.column, "projected").select(
            "projected",
            array_to_vector(sql.col("projected")).alias("features"),
            class_of("label").cast("double").alias("label"),
            weight_of("label").alias("weight"),
            fold_of("path", "label").alias("fold"),
            (sql.sha2("path", 256) < plan.sample_end).alias("is_sampled"),
        )


@dataclass(frozen=True)
class SparkFitter:
    """Spark ML's logistic regression on prepared rows."""

    projection: Projection
    rows: DataFrame
    n_classes: int
    max_iterations: int

    def folds(self) -> set[int]:
        """Return the numbers of the folds that have photos."""
        return {row["fold"] for row in self.rows.select("fold").distinct().collect()}

    def fit(self, strength: float) -> Regression:
        """Return a regression for the vectors of the table, fitted on all photos."""
        return self._fit(self.rows, strength).compose_with(self.projection)

    def score_held_out(self, trials: Sequence[tuple[float, int]]) -> Iterator[HeldOutScores]:
        """For each (strength, fold), fit all other folds and yield the scores of the photos in this fold."""
        sample = self.rows.where("is_sampled").persist()
        context = self.rows.sparkSession.sparkContext
        job_group = context.getLocalProperty("spark.jobGroup.id") or ""

        def score_trial(trial: tuple[float, int]) -> HeldOutScores:
            context.setLocalProperty("spark.jobGroup.id", job_group)  # Ctrl-C cancels the jobs of this group
            regularisation, fold = trial
            regression = self._fit(sample.where(sql.col("fold") != fold), regularisation)
            return _score_rows(sample.where(sql.col("fold") == fold), regression)

        try:
            with ThreadPool(_FITS_AT_ONCE) as pool:
                yield from pool.imap(score_trial, trials)
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
        # Spark returns coefficients for all classes up to the highest label.
        seen = np.arange(len(intercept))
        return Regression.of_seen(model.coefficientMatrix.toArray(), intercept, seen, self.n_classes)


def _score_rows(rows: DataFrame, regression: Regression) -> HeldOutScores:
    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            vectors = batch["projected"].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            column = pa.array([row.tobytes() for row in regression.logits(vectors)], pa.binary())
            yield pa.RecordBatch.from_arrays([column, batch["label"]], ["logits", "label"])

    scored: list[Any] = rows.select("projected", "label").mapInArrow(score, "logits binary, label double").collect()
    logits = np.frombuffer(b"".join(bytes(row["logits"]) for row in scored), np.float32)
    truth = np.array([row["label"] for row in scored], np.int64)
    return HeldOutScores(logits.reshape(-1, len(regression.intercept)), truth)
