"""The steps of the chain but the reduction: each does a stage in the staging folder, and notes it."""

from __future__ import annotations

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import StorageLevel

from verger import ingest
from verger.errors import DecodeError, ResultError
from verger.export import features_of, rejected_of, write_copies, write_parquet
from verger.featurize.device import CPU, prepare_on
from verger.featurize.network import Network
from verger.featurize.onnx_session import import_runtime
from verger.featurize.runtime import Extractor, featurize_photo
from verger.featurize.spark import Counts
from verger.featurize.spark import featurize as featurize_images
from verger.featurize.worker import WorkerOptions
from verger.manifest import Manifest
from verger.uri import to_local
from verger.workplace import FEATURES, REJECTED, Workplace

LISTING = "listing"

_N_PARITY_PHOTOS = 16


def list_photos(place: Workplace, src: str) -> ingest.Listing:
    """List the source while Spark starts, cut into tasks."""
    settings = place.settings
    selection = ingest.Selection(settings.glob, settings.label, settings.limit, settings.sample)
    place.progress.stage("list photos")
    with place.manifest.timed("list"):
        n_cores = place.session.options.n_local_cores
        listing = ingest.write_listing(src, selection, place.stage / LISTING, n_cores)
    place.manifest.counts["listed"] = listing.n_photos
    return listing


def prepare(place: Workplace) -> Network:
    """Return the network of the settings, converted while Spark starts where it is not in the cache."""
    place.progress.stage("convert network")
    with place.manifest.timed("convert"):
        network = prepare_on(place.spec, place.settings.device, place.settings.batch_size)
    if network.device != CPU:
        place.manifest.versions["onnxruntime"] = import_runtime(network.device).__version__
    return network


def featurize(place: Workplace, listing: ingest.Listing, network: Network) -> Path:
    """Write `features` and `rejected` from one pass over the photos; return the features' folder."""
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = ingest.images(place.session.spark(), listing)
    counts = Counts(images)
    options = WorkerOptions(place.settings.max_pixels)
    # Kept on disk for the second table: the photos are decoded once, and memory holds none of it.
    outcomes = featurize_images(images, network, options, counts).persist(StorageLevel.DISK_ONLY)

    def write() -> None:
        write_parquet(features_of(outcomes), place.stage / FEATURES)
        write_parquet(rejected_of(outcomes), place.stage / REJECTED, single_file=True)

    place.progress.stage("featurize", listing.n_photos)
    with place.manifest.timed("featurize"):
        place.session.run(write, lambda: place.progress.advance(*counts.read()))
    place.progress.advance(listing.n_photos, counts.read()[1])
    place.manifest.network = network.describe() | {"spec": asdict(place.spec)}
    _count(place)
    return place.stage / FEATURES


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


def check_parity(place: Workplace, network: Network) -> None:
    """Featurize a few photos again, here by OpenVINO in float32, and compare: the whole Spark path is checked."""
    place.progress.stage("check")
    exact = Extractor(replace(network, precision="f32", device=CPU))
    cosines = []
    rows = (row for batch in _batches(place.stage / FEATURES, ["path", FEATURES]) for row in batch.to_pylist())
    for path, vector in (tuple(row.values()) for row in itertools.islice(rows, _N_PARITY_PHOTOS)):
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
            "device": network.device,
        }


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


def _count(place: Workplace) -> None:
    """Count what was written, and make sure that nothing was lost."""
    counts = place.manifest.counts
    labels, reasons = _tally(place.stage / FEATURES, "label"), _tally(place.stage / REJECTED, "reason")
    counts["features"], counts["rejected"] = labels.total(), reasons.total()
    counts["rejected_by_reason"] = dict(reasons.most_common())
    counts["labels"] = len(labels.keys() - {None})
    if counts["listed"] != counts["features"] + counts["rejected"]:
        raise ResultError(f"photos were lost on the way: {counts}")


def _tally(folder: Path, column: str) -> Counter[str | None]:
    found = Counter[str | None]()
    for batch in _batches(folder, [column]):
        found.update(batch[column].to_pylist())
    return found


def _batches(folder: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield what Spark wrote."""
    for file in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(file) as table:
            yield from table.iter_batches(columns=columns)
