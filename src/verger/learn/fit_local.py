"""Read training data and fit regressions in this process, with numpy and scikit-learn."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.errors import ReductionError, SetupError
from verger.kernel.classifier.classifier import Floats
from verger.kernel.classifier.folds import group_of
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.classifier.transforms import NONE, transform
from verger.kernel.moments import Array, Moments
from verger.kernel.pca import Projection, fit_exact
from verger.kernel.sketch import fit_randomized, product_part
from verger.learn.train import TOLERANCE, HeldOutScores, Ints, Regression, criterion_for
from verger.learn.training_options import TrainOptions
from verger.storage.commit import table_folder
from verger.storage.parquet import open_parquet
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts
from verger.storage.uri import AnyPath
from verger.tasks.vector_columns import check_finite, labelled_rows, matrix_of

_ROWS_PER_BATCH = 4096
# The size of the slices of vectors: 32 MB as float64, large enough for fast matrix products.
_SLICE_VALUES = 4 << 20
_FILES_AT_ONCE = 8


def check_scikit_learn() -> None:
    """Raise SetupError if scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise SetupError("training on this machine needs scikit-learn: pip install 'verger[learn]'")


@dataclass(frozen=True)
class LocalExamples:
    """The labelled rows of a Parquet table, in memory. blocks: matrices of the vectors, in the order of `paths`."""

    column: str
    paths: list[str]
    labels: list[str]
    blocks: list[Floats]

    def count_labels(self) -> dict[str, int]:
        """Return the number of photos of each label."""
        return dict(Counter(self.labels))

    def find_groups(self, pattern: str) -> set[tuple[str, str]]:
        """Return the set of (label, group) pairs of the photos, except photos whose path has no group."""
        groups = (group_of(path, pattern) for path in self.paths)
        return {(label, group) for label, group in zip(self.labels, groups, strict=True) if group is not None}

    @contextmanager
    def prepare(self, plan: TrainingPlan, options: TrainOptions) -> Iterator[LocalFitter]:
        """Standardise and project the vectors onto their `n_directions` first principal directions."""
        projection = _fit_projection(self.blocks, options.n_directions)
        photos = list(zip(self.paths, self.labels, strict=True))
        classes, weights = plan.classes, plan.weights
        rows = PreparedRows(
            _project(self.blocks, projection),
            np.array([classes[label] for label in self.labels], np.int64),
            np.array([weights[label] for label in self.labels]),
            np.array([plan.fold_of(path, label) for path, label in photos], np.int64),
        )
        is_sampled = np.array([plan.is_sampled(path) for path in self.paths], bool)
        yield LocalFitter(projection, rows, is_sampled, len(plan.labels), options.max_iterations)


@dataclass(frozen=True)
class PreparedRows:
    """Prepared photos: projected vectors (n, n_directions); class numbers, weights and fold numbers, each (n,)."""

    vectors: Floats
    classes: Ints
    weights: Array
    folds: Ints

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> PreparedRows:
        return PreparedRows(self.vectors[rows], self.classes[rows], self.weights[rows], self.folds[rows])


@dataclass(frozen=True)
class LocalFitter:
    """scikit-learn's logistic regression on prepared rows.

    Fits run one after another, because the matrix products of one fit use all cores.
    """

    projection: Projection
    rows: PreparedRows
    is_sampled: npt.NDArray[np.bool_]
    n_classes: int
    max_iterations: int

    def folds(self) -> set[int]:
        """Return the numbers of the folds that have photos."""
        return set(np.unique(self.rows.folds).tolist())

    def fit(self, strength: float) -> Regression:
        """Return a regression for the vectors of the table, fitted on all photos."""
        return self._fit(self.rows, strength).compose_with(self.projection)

    def score_held_out(self, trials: Sequence[tuple[float, int]]) -> Iterator[HeldOutScores]:
        """For each (strength, fold), fit all other folds and yield the scores of the photos in this fold."""
        sample = self.rows[self.is_sampled]
        for regularisation, fold in trials:
            held_out = sample[sample.folds == fold]
            regression = self._fit(sample[sample.folds != fold], regularisation)
            yield HeldOutScores(regression.logits(held_out.vectors), held_out.classes)

    def _fit(self, rows: PreparedRows, regularisation: float) -> Regression:
        seen = np.unique(rows.classes)
        if len(seen) == 1:
            return Regression.of_seen(np.zeros((1, rows.vectors.shape[1])), np.zeros(1), seen, self.n_classes)
        coef, intercept = _fit_seen(rows, regularisation, self.max_iterations)
        if len(seen) == 2:  # scikit-learn returns only the difference between the scores of the two classes
            coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        return Regression.of_seen(coef, intercept, seen, self.n_classes)


def _fit_seen(
    rows: PreparedRows, regularisation: float, max_iterations: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return coef and intercept of a fit on `rows`, which must contain at least two classes.

    scikit-learn minimises C * weighted sum of losses + |coef|^2 / 2.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    strength = regularisation * rows.weights.sum()
    if len(np.unique(rows.classes)) == 2:
        # For two classes scikit-learn fits one vector w. The softmax has the vectors -w/2 and w/2, and the sum of
        # their squares is |w|^2 / 2.
        strength /= 2
    estimator = LogisticRegression(C=1 / strength if strength else np.inf, max_iter=max_iterations, tol=TOLERANCE)
    with warnings.catch_warnings():
        # Ignore warnings about convergence, because the number of iterations is limited on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(rows.vectors, rows.classes, rows.weights)
    return estimator.coef_, estimator.intercept_


def read_examples(result: AnyPath, column: str, transform_name: str = NONE) -> LocalExamples:
    """Read the labelled rows of a table of a result; raises SourceError if there is no such table.

    column: name of the table, and of its column of vectors. transform_name: see TRANSFORMS. Raises
    ClassifierError for NaN or infinity in a vector.
    """
    files = parquet_files(table_folder(result, column))
    list_parts(files, column)  # checks the columns
    paths: list[str] = []
    labels: list[str] = []

    def read_matrices(pool: ThreadPoolExecutor) -> Iterator[Floats]:
        for batches in pool.map(partial(_read_labelled, column=column), files):
            for batch in batches:
                paths.extend(batch["path"].to_pylist())
                labels.extend(batch["label"].to_pylist())
                yield transform(transform_name, matrix_of(batch[column]))

    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        blocks = list(_join_into_blocks(read_matrices(pool)))
    return LocalExamples(column, paths, labels, blocks)


def _read_labelled(file: AnyPath, column: str) -> list[pa.RecordBatch]:
    with open_parquet(file) as table:
        batches = table.iter_batches(_ROWS_PER_BATCH, columns=["path", "label", column])
        labelled = [rows for batch in batches if (rows := labelled_rows(batch, column)).num_rows]
    for batch in labelled:
        check_finite(matrix_of(batch[column]), column, str(file))
    return labelled


def _join_into_blocks(matrices: Iterable[Floats]) -> Iterator[Floats]:
    """Join small matrices into blocks of up to _SLICE_VALUES values; larger matrices stay as they are."""
    pending: list[Floats] = []
    for matrix in matrices:
        if pending and sum(part.size for part in pending) + matrix.size > _SLICE_VALUES:
            yield _join(pending)
            pending = []
        pending.append(matrix)
    if pending:
        yield _join(pending)


def _join(matrices: list[Floats]) -> Floats:
    widths = {matrix.shape[1] for matrix in matrices}
    if len(widths) != 1:
        raise ReductionError(
            f"the vectors have different widths ({sorted(widths)}): all must come from one network"
        )
    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices)


def _slices(blocks: Iterable[Floats]) -> Iterator[Floats]:
    """Yield views of the blocks that are small enough to be copied as float64."""
    for block in blocks:
        n_rows = max(1, _SLICE_VALUES // block.shape[1])
        for start in range(0, len(block), n_rows):
            yield block[start : start + n_rows]


def _fit_projection(blocks: list[Floats], n_directions: int) -> Projection:
    """Return the projection onto the first principal directions of the standardised vectors."""
    # Moments are merged one after the other, because the moments of one block may take half a gigabyte.
    moments = reduce(Moments.merge, map(Moments.from_vectors, _slices(blocks)))
    criterion = criterion_for(moments, n_directions)
    if moments.is_wide:
        projection = fit_randomized(moments, criterion, partial(_product, blocks), standardize=True)
    else:
        projection = fit_exact(moments, criterion, standardize=True)
    return replace(projection, directions=projection.directions[:n_directions])


def _product(blocks: list[Floats], mean: Array, scale: Array, basis: Array) -> Array:
    """Return `sketch.Product` over the vectors in `blocks`."""
    total = np.zeros(basis.shape)
    for block in _slices(blocks):
        total += product_part(block, mean, scale, basis)
    return total


def _project(blocks: list[Floats], projection: Projection) -> Floats:
    projected = np.empty((sum(map(len, blocks)), projection.k), np.float32)
    start = 0
    for block in _slices(blocks):
        projected[start : start + len(block)] = projection(block)
        start += len(block)
    return projected
