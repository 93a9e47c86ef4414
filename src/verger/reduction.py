"""The reduction step of the chain. A module of its own: it needs pyspark.ml, slow to import."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.export import write_parquet
from verger.publish import table_folder
from verger.reduce.moments import Moments
from verger.reduce.pca import Criterion
from verger.reduce.spark import PCAModel, Vectors, fit_projection, project_files
from verger.uri import AnyPath, any_path, parquet_files
from verger.workplace import COMPONENTS, FEATURES, MODEL, Workplace

STATE = "state.npz"
SPECTRUM = "spectrum.csv"

_AT_A_TIME = 16


@dataclass(frozen=True)
class Update:
    """An earlier PCA's state, and the journal of the vectors that it has not seen; None: it has seen none."""

    state: AnyPath
    additions: AnyPath | None = None


def update_of_result(place: Workplace, additions: AnyPath | None) -> Update | None:
    """Return how the PCA of the result in place becomes that of the new one; None where it must be fitted anew."""
    state = place.out / MODEL / STATE
    return Update(state, additions) if additions is not None and state.is_file() else None


def reduce_features(place: Workplace, features: AnyPath, update: Update | None = None) -> AnyPath:
    """Fit PCA on a features folder, write `components` and `model`; return the components' folder.

    `update`: fold its additions alone into an earlier PCA's state, which saves a pass over the features.
    """
    settings = place.settings
    place.progress.stage("reduce")
    with place.manifest.timed("start"):
        spark = place.session.spark()
    criterion = Criterion(settings.components, settings.variance_kept)
    earlier = None if update is None else _read_state(update.state)

    files = _files(features)
    unseen = files if update is None or update.additions is None else _names(update.additions)

    def fit_and_write() -> PCAModel:
        vectors = Vectors.in_files(spark, unseen, FEATURES)
        found, moments = fit_projection(vectors, criterion, standardize=settings.standardize, update=earlier)
        model = PCAModel(found, moments)
        model.write().save(str(place.stage / MODEL / "pca"))
        components = project_files(spark, files, found, FEATURES)
        write_parquet(components, place.stage / COMPONENTS, single_file=settings.single_file)
        return model

    with place.manifest.timed("reduce"):
        model = place.session.run(fit_and_write)
    _note_reduction(place, model, criterion)
    return place.stage / COMPONENTS


def _names(table: AnyPath) -> list[str]:
    return [str(file) for file in parquet_files(table)]


def _files(features: AnyPath) -> list[str]:
    """Return the files of a table of features in the order of their photos; raises SourceError where they are none.

    Spark numbers its files by chance, and PCA is to be the same to the bit however they came about.
    """
    files = _names(table_folder(features, FEATURES))
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        first_paths = list(pool.map(_first_path, files))
    return [file for _, file in sorted(zip(first_paths, files, strict=True))]


def _first_path(file: str) -> str:
    """Check a file's columns; return the first of its paths, as its footer tells, or nothing where it does not."""
    with any_path(file).open("rb") as opened:
        about = pq.read_metadata(opened)
    schema = about.schema.to_arrow_schema()
    missing = {"path", "label", FEATURES} - set(schema.names)
    if missing:
        raise SourceError(f"{file} has no column {', '.join(sorted(missing))}: expected features of verger's")
    if not pa.types.is_list(schema.field(FEATURES).type):
        raise SourceError(f"{file}: features are {schema.field(FEATURES).type}; expected arrays of float or double")
    if not about.num_row_groups:
        return ""
    told = about.row_group(0).column(about.schema.names.index("path")).statistics
    return str(told.min) if told is not None and told.has_min_max else ""


def _read_state(path: AnyPath) -> Moments:
    """Read a PCA state: the file, or the result or model folder it lies in."""
    for file in (path, path / STATE, path / MODEL / STATE):
        if file.is_file():
            return Moments.from_bytes(file.read_bytes())
    raise SourceError(f"{path} holds no PCA state: expected model/{STATE} of an earlier result")


def _note_reduction(place: Workplace, model: PCAModel, criterion: Criterion) -> None:
    found, moments = model.projection, model.moments_
    if moments is not None and not moments.is_wide:
        (place.stage / MODEL / STATE).write_bytes(moments.to_bytes())
    ratio = found.explained_variance_ratio
    rows = zip(found.explained_variance, ratio, np.cumsum(ratio), strict=True)
    lines = [f"{i},{value:.9g},{share:.9g},{total:.9g}" for i, (value, share, total) in enumerate(rows, 1)]
    header = "component,explained_variance,explained_variance_ratio,cumulative_ratio"
    (place.stage / MODEL / SPECTRUM).write_text("\n".join([header, *lines]) + "\n")
    place.manifest.reduction = {
        "n_components": found.k,
        "explained_variance_ratio": found.variance_kept,
        "criterion": str(criterion),
        "standardize": place.settings.standardize,
        "n_samples": found.n,
        "n_features": len(found.mean),
        "method": found.method,
        "residual": found.residual,
    }
