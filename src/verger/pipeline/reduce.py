"""The reduce stage: features -> principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from verger.engine.base import Engine
from verger.errors import JobError, ReductionError, SourceError
from verger.kernel.moments import MAX_EXACT_FEATURES, Array, Moments, merge_all
from verger.kernel.pca import Criterion, Projection, fit_exact
from verger.kernel.sketch import add_products, fit_randomized
from verger.pipeline.context import COMPONENTS, FEATURES, MODEL, RunContext
from verger.pipeline.merge_tree import merge_in_trees
from verger.pipeline.pca_folder import write_pca_model
from verger.storage.commit import scratch_folder, table_folder
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import TablePart, list_parts, vector_width
from verger.storage.uri import AnyPath, remove_tree
from verger.tasks.base import Task
from verger.tasks.moments import (
    Merge,
    MomentsJob,
    PartialSum,
    ProductJob,
    merge_moments,
    merge_products,
    moments_partition,
    product_partition,
)
from verger.tasks.project import ProjectItem, ProjectJob, project_partition
from verger.tasks.reduction_sizes import rows_per_block, rows_per_part, rows_per_sum
from verger.tasks.spans import split_into_spans

STATE = "state.npz"
SPECTRUM = "spectrum.csv"


@dataclass(frozen=True)
class PcaUpdate:
    """An update of an earlier PCA. state: file of its moments. additions: files of features to add; None: all."""

    state: AnyPath
    additions: list[AnyPath] | None = None


def find_update(context: RunContext, additions: list[AnyPath] | None) -> PcaUpdate | None:
    """Return the update of the PCA of the result at OUT with `additions`; None if a new PCA must be fitted."""
    state = context.out / MODEL / STATE
    return PcaUpdate(state, additions) if additions is not None and state.is_file() else None


def reduce_features(context: RunContext, features: AnyPath, update: PcaUpdate | None = None) -> AnyPath:
    """Fit PCA on a folder of features, and write `components` and `model`; return the folder of the components.

    update: an earlier PCA and the features to add to it; then only these features are read to fit the PCA.
    """
    settings = context.settings
    context.progress.stage("reduce")
    criterion = Criterion(settings.components, settings.variance_kept)
    earlier = None if update is None else _read_state(update.state)
    scratch = scratch_folder(context.stage) / "sums"
    with context.manifest.timed("reduce"):
        parts = list_parts(parquet_files(table_folder(features, FEATURES)), FEATURES)
        has_additions = update is not None and update.additions is not None
        unseen = list_parts(update.additions or (), FEATURES) if update and has_additions else parts
        sums = _VectorSums(context.engine, scratch, unseen)
        moments = _merged(earlier, sums.moments())
        projection = _fit(sums, moments, criterion, standardize=settings.standardize)
        remove_tree(scratch)
        _write_model(context.stage / MODEL, projection, moments)
        _project(context, parts, projection)
    context.manifest.reduction = {
        "n_components": projection.k,
        "explained_variance_ratio": projection.variance_kept,
        "criterion": str(criterion),
        "standardize": settings.standardize,
        "n_samples": projection.n,
        "n_features": len(projection.mean),
        "method": projection.method,
        "residual": projection.residual,
    }
    return context.stage / COMPONENTS


def _merged(earlier: Moments | None, moments: Moments | None) -> Moments:
    if earlier is None or moments is None:
        only = earlier or moments
        if only is None:
            raise ReductionError("no feature vectors to reduce: the features table has no rows")
        return only
    if moments.is_wide or earlier.is_wide:
        raise ReductionError(
            f"a PCA of vectors with more than {MAX_EXACT_FEATURES} columns cannot be updated: fit a new one "
            "without --update"
        )
    return earlier.merge(moments)


def _fit(sums: _VectorSums, moments: Moments, criterion: Criterion, *, standardize: bool) -> Projection:
    if moments.is_wide:
        return fit_randomized(moments, criterion, sums.product, standardize=standardize)
    return fit_exact(moments, criterion, standardize=standardize)


class _VectorSums:
    """Sums over the vectors of a table, computed by tasks and merged in a tree.

    The tree depends only on the number of rows and the width of the vectors, so every engine gives the same bits.
    """

    def __init__(self, engine: Engine, scratch: AnyPath, parts: Sequence[TablePart]) -> None:
        self._engine = engine
        self._scratch = scratch
        self._n_passes = 0
        self._n_rows = sum(part.n_rows for part in parts)
        self._parts = parts
        self._width = vector_width(parts[0], FEATURES) if parts else 1
        self._block_rows = rows_per_block(self._width)

    def moments(self) -> Moments | None:
        """Return the moments of all vectors; None if there are no vectors."""
        job = MomentsJob(FEATURES, self._block_rows)
        parts = self._sum(moments_partition, job, merge_moments)
        return merge_all([Moments.from_bytes(data) for data in parts]) if parts else None

    def product(self, mean: Array, scale: Array, basis: Array) -> Array:
        """Return `sketch.Product` over all vectors."""
        job = ProductJob(FEATURES, self._block_rows, mean, scale, basis)
        total = add_products(self._sum(product_partition, job, merge_products))
        return np.frombuffer(total).reshape(basis.shape)

    def _sum(self, task: Task[Any, PartialSum, bool], job: object, merge: Task[None, Merge, bool]) -> list[bytes]:
        """Compute partial sums, merge them to at most FAN_IN, and return these in order."""
        self._n_passes += 1
        rows_each = rows_per_sum(self._n_rows, self._width)
        groups = split_into_spans([(part.file, part.n_rows) for part in self._parts], rows_each)
        prefix = str(self._scratch / f"pass-{self._n_passes}")
        items = [PartialSum(spans, f"{prefix}-0-{number:06d}") for number, spans in enumerate(groups)]
        written = self._engine.map(task, items, job)
        files = [item.target for item, is_written in zip(items, written, strict=True) if is_written]
        (files,) = merge_in_trees(self._engine, merge, [files], prefix)
        return [(self._scratch / file.rpartition("/")[2]).read_bytes() for file in files]


def _project(context: RunContext, parts: Sequence[TablePart], projection: Projection) -> None:
    n_rows = sum(part.n_rows for part in parts)
    rows_each = rows_per_part(n_rows)
    groups = split_into_spans(
        [(part.file, part.n_rows) for part in parts], n_rows if context.settings.single_file else rows_each
    )
    items = [ProjectItem(number, spans) for number, spans in enumerate(groups)]
    job = ProjectJob(projection, FEATURES, str(context.stage / COMPONENTS))
    n_written = sum(context.engine.map(project_partition, items, job))
    if n_written != n_rows:
        raise JobError(
            f"{n_rows:,} features gave {n_written:,} rows of components, so the result was not changed: run "
            f"again when no other run writes to {context.out}"
        )


def _read_state(path: AnyPath) -> Moments:
    """Read the state of a PCA from the path of its file, of the folder `model`, or of the whole result."""
    for file in (path, path / STATE, path / MODEL / STATE):
        if file.is_file():
            try:
                return Moments.from_bytes(file.read_bytes())
            except (ValueError, KeyError, EOFError, BadZipFile) as error:
                raise SourceError(f"{file} is damaged ({error}): reduce the features without --update") from error
    raise SourceError(f"{path} holds no PCA state: expected model/{STATE} of an earlier result")


def _write_model(folder: AnyPath, projection: Projection, moments: Moments) -> None:
    """Write the PCA as a pyspark.ml stage, its spectrum as CSV, and its moments for later updates."""
    write_pca_model(folder / "pca", projection, moments)
    if not moments.is_wide:
        (folder / STATE).write_bytes(moments.to_bytes())
    ratio = projection.explained_variance_ratio
    rows = zip(projection.explained_variance, ratio, np.cumsum(ratio), strict=True)
    lines = [f"{i},{value:.9g},{share:.9g},{total:.9g}" for i, (value, share, total) in enumerate(rows, 1)]
    header = "component,explained_variance,explained_variance_ratio,cumulative_ratio"
    (folder / SPECTRUM).write_text("\n".join([header, *lines]) + "\n")
