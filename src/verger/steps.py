"""The steps of the chain: each does one stage in the staging folder and notes it in the manifest."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger import ingest
from verger.errors import DecodeError, ResultError, SourceError
from verger.export import ExportOptions, features_of, rejected_of, write_copies, write_parquet
from verger.featurize.catalog import NetworkSpec
from verger.featurize.network import Network, prepare_network
from verger.manifest import Manifest
from verger.places import cache_dir
from verger.progress import Progress
from verger.publish import publishing
from verger.reduce.moments import Moments
from verger.reduce.pca import Criterion
from verger.session import Session, SessionOptions, session
from verger.settings import Settings
from verger.uri import to_local

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

FEATURES, COMPONENTS, REJECTED, MODEL = "features", "components", "rejected", "model"
LISTING = ".listing"
STATE = "state.npz"
SPECTRUM = "spectrum.csv"

_N_PARITY_PHOTOS = 16


@dataclass(frozen=True)
class Workplace:
    """What the steps share: where they write, Spark on its way, what they note."""

    out: Path
    stage: Path
    session: Session
    settings: Settings
    manifest: Manifest
    progress: Progress
    started: float
    spec: NetworkSpec

    @property
    def export_options(self) -> ExportOptions:
        """Formats and files of the export."""
        return ExportOptions(self.settings.export, self.settings.single_file)


@contextmanager
def workplace(command: str, src: str, out: Path, settings: Settings, progress: Progress) -> Iterator[Workplace]:
    """Open a staging folder beside `out` and start Spark; publish when the block ends well."""
    started = time.monotonic()
    s = settings
    spec = NetworkSpec(s.model, s.weights, s.pooling, s.precision, s.preprocessing)  # first: may be refused
    manifest = Manifest(command, src, settings.model_dump(mode="json"))
    options = SessionOptions(
        settings.master, settings.driver_memory, settings.conf, None if settings.verbose else spark_log()
    )
    with publishing(out, overwrite=settings.overwrite) as stage, session(options) as starting:
        yield Workplace(out, stage, starting, settings, manifest, progress, started, spec)


def spark_log() -> Path:
    """Return where this process's Spark writes what it says."""
    return cache_dir() / "logs" / f"spark-{os.getpid()}.log"


def list_photos(place: Workplace, src: str) -> DataFrame:
    """List the source while Spark starts, and return the `images` table, contents unread."""
    settings = place.settings
    selection = ingest.Selection(settings.glob, settings.label, settings.limit, settings.sample)
    place.progress.stage("list photos")
    with place.manifest.timed("list"):
        n_cores = place.session.options.n_local_cores
        listing = ingest.write_listing(src, selection, place.stage / LISTING, n_cores)
    place.manifest.counts["listed"] = listing.n_photos
    place.progress.stage("convert network")
    with place.manifest.timed("convert"):
        prepare_network(place.spec)
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        return ingest.images(place.session.spark(), listing)


def featurize(place: Workplace, images: DataFrame) -> Path:
    """Write `features` and `rejected` from one pass over the photos; return the features' folder."""
    from pyspark import StorageLevel

    from verger.featurize.spark import Counts
    from verger.featurize.spark import featurize as featurize_images
    from verger.featurize.worker import WorkerOptions

    prepared, counts = prepare_network(place.spec), Counts(images)
    options = WorkerOptions(place.settings.max_pixels)
    # Kept on disk for the second table: the photos are decoded once, and memory holds none of it.
    outcomes = featurize_images(images, prepared, options, counts).persist(StorageLevel.DISK_ONLY)

    def write() -> None:
        write_parquet(features_of(outcomes), place.stage / FEATURES)
        write_parquet(rejected_of(outcomes), place.stage / REJECTED, single_file=True)

    n_listed = place.manifest.counts["listed"]
    place.progress.stage("featurize", n_listed)
    with place.manifest.timed("featurize"):
        place.session.run(write, lambda: place.progress.advance(*counts.read()))
    place.progress.advance(n_listed, counts.read()[1])
    place.manifest.network = prepared.describe()
    _count(place)
    _check_parity(place, prepared)
    return place.stage / FEATURES


def reduce_features(place: Workplace, features: Path, state: Path | None = None) -> Path:
    """Fit PCA on a features folder, write `components` and `model`; return the components' folder."""
    from verger.reduce.spark import PCAModel, fit_projection

    settings = place.settings
    place.progress.stage("reduce")
    with place.manifest.timed("start"):
        spark = place.session.spark()
    criterion = Criterion(settings.components, settings.variance_kept)
    earlier = None if state is None else _read_state(state)

    def fit_and_write() -> PCAModel:
        table = spark.read.parquet(str(_features_folder(features)))
        found, moments = fit_projection(
            table, FEATURES, criterion, standardize=settings.standardize, update=earlier
        )
        model = PCAModel(found, moments)
        model.write().save(str(place.stage / MODEL / "pca"))
        components = model.transform(table).select("path", "label", COMPONENTS)
        write_parquet(components, place.stage / COMPONENTS, single_file=settings.single_file)
        return model

    with place.manifest.timed("reduce"):
        model = place.session.run(fit_and_write)
    _note_reduction(place, model, criterion)
    return place.stage / COMPONENTS


def export(place: Workplace, table: Path) -> None:
    """Write the CSV and JSON copies of a staged table that the settings ask for."""
    if not place.settings.export:
        return
    place.progress.stage("export")
    spark = place.session.spark()

    def write() -> list[Path]:
        rows = spark.read.parquet(str(table))
        return write_copies(rows, table.name, place.stage, place.export_options)

    with place.manifest.timed("export"):
        place.manifest.exports = [path.name for path in place.session.run(write)]


def finish(place: Workplace) -> Manifest:
    """Write the report and the manifest, and return it."""
    manifest = place.manifest
    shutil.rmtree(place.stage / LISTING, ignore_errors=True)
    manifest.timings_s["total"] = round(time.monotonic() - place.started, 3)
    if "listed" in manifest.counts:
        manifest.photos_per_s = round(manifest.counts["listed"] / manifest.timings_s["featurize"], 1)
    manifest.write(place.stage)
    if place.settings.report:
        from verger.report.page import write_report

        place.progress.stage("report")
        write_report(place.stage, title=place.out.name)
    return manifest


def _features_folder(path: Path) -> Path:
    """Accept a result of verger or its features folder."""
    for folder in (path / FEATURES, path):
        if folder.is_dir() and any(folder.glob("*.parquet")):
            return folder
    raise SourceError(f"{path} holds no features: expected a result of `verger features` or its features/")


def _read_state(path: Path) -> Moments:
    """Read a PCA state: the file, or the result or model folder it lies in."""
    for file in (path, path / STATE, path / MODEL / STATE):
        if file.is_file():
            return Moments.from_bytes(file.read_bytes())
    raise SourceError(f"{path} holds no PCA state: expected model/{STATE} of an earlier result")


def _count(place: Workplace) -> None:
    """Count what was written, and make sure that nothing was lost."""
    counts = place.manifest.counts
    counts["features"] = ds.dataset(place.stage / FEATURES, format="parquet").count_rows()
    labels = Counter[str | None]()
    for batch in ds.dataset(place.stage / FEATURES, format="parquet").to_batches(columns=["label"]):
        labels.update(batch["label"].to_pylist())
    reasons = pq.read_table(place.stage / REJECTED, columns=["reason"])["reason"].to_pylist()
    counts["rejected"] = len(reasons)
    counts["rejected_by_reason"] = dict(Counter(reasons).most_common())
    counts["labels"] = len(labels.keys() - {None})
    if counts["listed"] != counts["features"] + counts["rejected"]:
        raise ResultError(f"photos were lost on the way: {counts}")


def _check_parity(place: Workplace, network: Network) -> None:
    """Featurize a few photos again, here and in float32, and compare: the whole Spark path is checked."""
    from dataclasses import replace

    from verger.featurize.runtime import Extractor, featurize_photo

    rows = ds.dataset(place.stage / FEATURES, format="parquet").head(_N_PARITY_PHOTOS, columns=["path", FEATURES])
    exact = Extractor(replace(network, precision="f32"))
    cosines = []
    for path, vector in zip(rows["path"].to_pylist(), rows[FEATURES].to_pylist(), strict=True):
        try:
            data = Path(to_local(path)).read_bytes()
            again = featurize_photo(data, exact, max_pixels=place.settings.max_pixels).features
        except (OSError, DecodeError):
            continue  # deleted meanwhile, say
        ours = np.asarray(vector)
        cosines.append(float(ours @ again / (np.linalg.norm(ours) * np.linalg.norm(again))))
    if cosines:
        place.manifest.parity = {
            "n_checked": len(cosines),
            "min_cosine": round(min(cosines), 7),
            "mean_cosine": round(sum(cosines) / len(cosines), 7),
            "precision": network.precision,
        }


def _note_reduction(place: Workplace, model: object, criterion: Criterion) -> None:
    from verger.reduce.spark import PCAModel

    assert isinstance(model, PCAModel)
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
