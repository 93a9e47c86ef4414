"""Train a classifier with Spark ML, choose its regularisation by cross-validation, and export it to numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame
from pyspark.sql import functions as sql

from verger.classify.calibrate import calibrate, log_loss
from verger.classify.folds import ALWAYS_TRAINED, deal_groups, fold_of, group_of, group_pattern
from verger.classify.metrics import Answers, evaluate_answers
from verger.classify.model import Classifier, Floats, softmax
from verger.classify.options import TrainOptions
from verger.errors import ClassifierError
from verger.progress import Progress
from verger.reduce.pca import Criterion, Projection
from verger.reduce.spark import Vectors, fit_projection, project

if TYPE_CHECKING:
    import pyarrow as pa

# Cross-validation fits many times over; on so many photos it chooses as well as on millions.
MAX_CROSS_VALIDATED = 3_000

_N_AT_ONCE = 4


@dataclass(frozen=True)
class Trained:
    """A classifier, and what cross-validation says of it."""

    classifier: Classifier
    evaluation: dict[str, Any]


def train(
    table: DataFrame,
    column: str,
    options: TrainOptions,
    progress: Progress,
    *,
    network: dict[str, Any],
    earlier: Projection | None = None,
) -> Trained:
    """Train on a DataFrame with `path`, `label` and an array `column`; rows without label are passed over.

    `network` (whose features they are) goes into the classifier; where `column` holds components, `earlier`
    is the PCA they came from. Raises ClassifierError where there is nothing to learn.
    """
    table = table.where(sql.col("label").isNotNull() & sql.col(column).isNotNull())
    counts = _count_labels(table)
    labels = tuple(sorted(counts))
    progress.stage("turn")
    projection, _ = fit_projection(Vectors.of(table, column), Criterion(variance=1.0), standardize=True)
    projection = replace(projection, directions=projection.directions[: options.n_directions])
    n_slots = table.sparkSession.sparkContext.defaultParallelism
    rows = _prepared(table, column, projection, counts, options).coalesce(n_slots).persist()
    try:
        tried = _cross_validate(rows, len(labels), options, progress)
        best = min(tried, key=lambda score: (-round(score.accuracy, 4), score.log_loss))
        progress.stage("train")
        coef, intercept = _fit(rows, len(labels), best.regularisation, options)
    finally:
        rows.unpersist()
    for turned in (projection, earlier):
        coef, intercept = _unfolded(turned, coef, intercept) if turned else (coef, intercept)
    temperature, threshold = calibrate(best.logits, best.truth, options.accuracy)
    probabilities = softmax(best.logits / np.float32(temperature))
    about = {"n_photos": sum(counts.values()), "on": column, "regularisation": best.regularisation}
    evaluation = evaluate_answers(Answers.of(probabilities, best.truth), labels, threshold)
    evaluation["cross_validation"] = _told(tried, best, options)
    return Trained(Classifier(labels, coef, intercept, temperature, threshold, network, about), evaluation)


def _count_labels(table: DataFrame) -> dict[str, int]:
    counts = {row["label"]: row["count"] for row in table.groupBy("label").count().collect()}
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise ClassifierError(f"two labels at least are needed to tell apart; there is {found}")
    return counts


@dataclass(frozen=True)
class _Score:
    regularisation: float
    logits: Floats
    truth: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(axis=1) == self.truth).mean())

    @property
    def log_loss(self) -> float:
        return log_loss(softmax(self.logits), self.truth)


def _told(tried: list[_Score], best: _Score, options: TrainOptions) -> dict[str, Any]:
    return {
        "n_folds": options.n_folds,
        "group": options.group,
        "regularisation": best.regularisation,
        "tried": [
            {"regularisation": s.regularisation, "accuracy": s.accuracy, "log_loss": s.log_loss} for s in tried
        ],
    }


def _prepared(
    table: DataFrame,
    column: str,
    projection: Projection,
    counts: dict[str, int],
    options: TrainOptions,
) -> DataFrame:
    """Return (features vector, array, label index, weight, fold): labels weigh alike however many photos."""
    labels = sorted(counts)
    pattern = group_pattern(options.group)
    marked = table.withColumn("group", _group(pattern))
    pairs = marked.where("`group` is not null").select("label", "group").distinct().collect()
    dealt = deal_groups(((row["label"], row["group"]) for row in pairs), options.n_folds)
    n_folds, number = options.n_folds, {label: i for i, label in enumerate(labels)}
    weight = {label: sum(counts.values()) / (len(labels) * n) for label, n in counts.items()}
    fold = sql.udf(lambda path, label, group: fold_of(path, label, group, dealt, n_folds), "int")
    index = sql.udf(lambda label: number[label], "int")
    weigh = sql.udf(lambda label: float(weight[label]), "double")
    turned = project(marked, projection, column, "turned")
    return turned.select(
        "turned",
        array_to_vector(sql.col("turned")).alias("features"),
        index("label").cast("double").alias("label"),
        weigh("label").alias("weight"),
        fold("path", "label", "group").alias("fold"),
    )


def _group(pattern: str | None) -> Any:
    """A column: what the pattern's first group finds in the path, null where it finds nothing."""
    if pattern is None:
        return sql.lit(None).cast("string")
    found = sql.udf(lambda path: group_of(path, pattern), "string")
    return found("path")


def _cross_validate(rows: DataFrame, n_classes: int, options: TrainOptions, progress: Progress) -> list[_Score]:
    """Return for every regularisation the scores of each photo by a model that had not seen its fold."""
    folds = sorted(row["fold"] for row in rows.select("fold").distinct().collect())
    folds = [fold for fold in folds if fold != ALWAYS_TRAINED]
    if not folds:
        raise ClassifierError("nothing can be held out: each label has one group only; try --group none")
    some = rows.sample(min(1.0, MAX_CROSS_VALIDATED / max(rows.count(), 1)), seed=0).persist()
    tasks = [(regularisation, fold) for regularisation in options.regularisations for fold in folds]
    progress.stage("cross-validate", len(tasks))

    context = rows.sparkSession.sparkContext
    group = context.getLocalProperty("spark.jobGroup.id") or ""

    def held_out(task: tuple[float, int]) -> tuple[Floats, npt.NDArray[np.int64]]:
        context.setLocalProperty("spark.jobGroup.id", group)  # so that Ctrl-C ends these jobs too
        regularisation, fold = task
        coef, intercept = _fit(some.where(sql.col("fold") != fold), n_classes, regularisation, options)
        return _score(some.where(sql.col("fold") == fold), coef, intercept)

    # A fit of so few photos is a hundred jobs that each wait more than they work.
    with ThreadPool(_N_AT_ONCE) as pool:
        parts = {}
        for task, part in zip(tasks, pool.imap(held_out, tasks), strict=True):
            parts[task] = part
            progress.advance(len(parts), 0)
    some.unpersist()
    return [
        _Score(r, *(np.concatenate(column) for column in zip(*(parts[r, fold] for fold in folds), strict=True)))
        for r in options.regularisations
    ]


def _fit(rows: DataFrame, n_classes: int, regularisation: float, options: TrainOptions) -> tuple[Floats, Floats]:
    regression = LogisticRegression(
        weightCol="weight",
        family="multinomial",
        regParam=regularisation,
        standardization=False,
        maxIter=options.max_iterations,
        tol=1e-4,
    )
    model = regression.fit(rows)
    return _all_classes(model.coefficientMatrix.toArray(), model.interceptVector.toArray(), n_classes)


def _all_classes(coef: npt.NDArray[Any], intercept: npt.NDArray[Any], n_classes: int) -> tuple[Floats, Floats]:
    """Spark counts classes up to the highest label it sees: those after it, in a held-out fold, get no chance."""
    lacking = n_classes - len(intercept)
    coef = np.pad(coef, ((0, lacking), (0, 0)))
    intercept = np.pad(intercept, (0, lacking), constant_values=-30.0)
    return coef.astype(np.float32), intercept.astype(np.float32)


def _score(rows: DataFrame, coef: Floats, intercept: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    def scored(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            vectors = batch["turned"].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            logits = np.asarray(vectors @ coef.T + intercept, np.float32)
            column = pa.array([row.tobytes() for row in logits], pa.binary())
            yield pa.RecordBatch.from_arrays([column, batch["label"]], ["logits", "label"])

    found = rows.select("turned", "label").mapInArrow(scored, "logits binary, label double").collect()
    logits = np.frombuffer(b"".join(bytes(row["logits"]) for row in found), np.float32).reshape(-1, len(intercept))
    return logits, np.array([row["label"] for row in found], np.int64)


def _unfolded(projection: Projection, coef: Floats, intercept: Floats) -> tuple[Floats, Floats]:
    """Return the same regression on features themselves: scaling and turning are linear too."""
    on_features = coef.astype(np.float64) @ projection.directions / projection.scale
    return on_features.astype(np.float32), (intercept - on_features @ projection.mean).astype(np.float32)
