"""The steps of the chain but the reduction: each does a stage in the staging folder, and notes it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import DataFrame

from verger import ingest
from verger.decode import read_photo
from verger.errors import DecodeError, ResultError, StorageError
from verger.export import features_of, rejected_of, write_copies, write_parquet
from verger.featurize.device import CPU, prepare_on
from verger.featurize.network import Network
from verger.featurize.onnx_session import import_runtime
from verger.featurize.runtime import Extractor, featurize_photo
from verger.featurize.spark import Counts
from verger.featurize.spark import featurize as featurize_images
from verger.featurize.worker import WorkerOptions
from verger.manifest import Manifest
from verger.report.artefacts import open_table, stream
from verger.uri import AnyPath, parquet_files, remove_tree
from verger.workplace import FEATURES, REJECTED, Workplace

LISTING = "listing"

PATIENCE_S = 20.0
NO_EXECUTORS = (
    "waiting: the cluster has given no executor yet; it is busy, or its workers are smaller than "
    "--conf spark.executor.memory=1g, Spark's default"
)

_N_PARITY_PHOTOS = 16


def find_photos(place: Workplace, src: str) -> ingest.Listing | ingest.Packed:
    """Return the photos of the source: loose ones listed while Spark starts, cut into tasks, or packed ones."""
    packed = ingest.find_packed(src)
    if packed is None:
        return list_photos(place, src)
    place.manifest.counts["listed"] = packed.n_photos
    return packed


def list_photos(place: Workplace, src: str, cut: ingest.Cut | None = None) -> ingest.Listing:
    """List the source while Spark starts, cut into tasks."""
    place.progress.stage("list photos")
    with place.manifest.timed("list"):
        listing = ingest.write_listing(src, _selection(place), place.stage / LISTING, place.session.n_cores, cut)
    place.manifest.counts["listed"] = listing.n_photos
    return listing


def _selection(place: Workplace) -> ingest.Selection:
    settings = place.settings
    return ingest.Selection(settings.glob, settings.label, settings.limit, settings.sample)


def pack(place: Workplace, listing: ingest.Listing) -> None:
    """Write the photos with their bytes into shards."""
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = ingest.images(place.session.spark(), listing)
    place.manifest.counts |= {"bytes": listing.n_bytes, "max_bytes": listing.max_bytes, "shards": listing.n_tasks}
    group_bytes = ingest.row_group_bytes(listing.n_photos, listing.n_bytes)
    folder = place.stage / ingest.IMAGES
    place.progress.stage("pack", listing.n_photos)
    with place.manifest.timed("pack"):
        place.session.run(lambda: ingest.write_shards(ingest.with_content(images), folder, group_bytes))
    place.progress.advance(listing.n_photos, 0)


def prepare(place: Workplace) -> Network:
    """Return the network of the settings, converted while Spark starts where it is not in the cache."""
    place.progress.stage("convert network")
    with place.manifest.timed("convert"):
        network = prepare_on(place.spec, place.settings.device, place.settings.batch_size)
    if network.device != CPU:
        place.manifest.versions["onnxruntime"] = import_runtime(network.device).__version__
    return network


def featurize(place: Workplace, photos: ingest.Listing | ingest.Packed, network: Network) -> AnyPath:
    """Write `features` and `rejected` from one pass over the photos; return the features' folder."""
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = _images(place, photos)
    counts = Counts(images)
    options = WorkerOptions(place.settings.max_pixels)
    # Kept on disk for the second table: the photos are decoded once, and memory holds none of it.
    outcomes = featurize_images(images, network, options, counts).persist(StorageLevel.DISK_ONLY)

    def write() -> None:
        write_parquet(features_of(outcomes), place.stage / FEATURES)
        write_parquet(rejected_of(outcomes), place.stage / REJECTED, single_file=True)

    place.progress.stage("featurize", place.manifest.counts["listed"])
    with place.manifest.timed("featurize"):
        place.session.run(write, _watch(place, counts))
    place.progress.advance(place.manifest.counts["listed"], counts.read()[1])
    place.manifest.network = network.describe() | {"spec": asdict(place.spec)}
    _count(place)
    return place.stage / FEATURES


def _watch(place: Workplace, counts: Counts) -> Callable[[], None]:
    """Return what tells how far the workers are, and once that there are none, where that lasts."""
    started, is_told = time.monotonic(), False

    def tick() -> None:
        nonlocal is_told
        place.progress.advance(*counts.read())
        if not is_told and time.monotonic() - started > PATIENCE_S:
            is_told = True
            if not place.session.has_executors():
                place.progress.note(NO_EXECUTORS)

    return tick


def _images(place: Workplace, photos: ingest.Listing | ingest.Packed) -> DataFrame:
    spark = place.session.spark()
    if isinstance(photos, ingest.Listing):
        return ingest.images(spark, photos)
    images = ingest.packed_images(spark, photos, _selection(place))
    if _selection(place) != ingest.Selection(label=place.settings.label):  # not all of them
        place.manifest.counts["listed"] = place.session.run(images.count)
    return images


def export(place: Workplace, table: AnyPath) -> None:
    """Write the CSV and JSON copies of a staged table that the settings ask for."""
    if not place.settings.export:
        return
    place.progress.stage("export")
    spark = place.session.spark()

    def write() -> list[str]:
        rows = spark.read.parquet(str(table))
        return write_copies(rows, table.name, place.stage, place.export_options)

    with place.manifest.timed("export"):
        place.manifest.exports = place.session.run(write)


def check_parity(place: Workplace, network: Network) -> None:
    """Featurize a few photos again, here by OpenVINO in float32, and compare: the whole Spark path is checked."""
    place.progress.stage("check")
    exact = Extractor(replace(network, precision="f32", device=CPU))
    cosines = []
    rows = (row for batch in _batches(place.stage / FEATURES, ["path", FEATURES]) for row in batch.to_pylist())
    for path, vector in (tuple(row.values()) for row in itertools.islice(rows, _N_PARITY_PHOTOS)):
        try:
            again = featurize_photo(read_photo(path), exact, max_pixels=place.settings.max_pixels).features
        except (DecodeError, StorageError):
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
    remove_tree(place.stage / LISTING)
    manifest.timings_s["total"] = round(time.monotonic() - place.started, 3)
    if "listed" in manifest.counts:
        spent = manifest.timings_s.get("featurize") or manifest.timings_s["pack"]
        manifest.photos_per_s = round(manifest.counts["listed"] / spent, 1)
    manifest.write(place.stage)
    if place.settings.report and manifest.command != "pack":
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


def _tally(folder: AnyPath, column: str) -> Counter[str | None]:
    found = Counter[str | None]()
    table = open_table(folder.parent, folder.name)
    for batch in stream(table, [column]) if table is not None else ():
        found.update({pair["values"]: pair["counts"] for pair in pc.value_counts(batch[column]).to_pylist()})
    return found


def _batches(folder: AnyPath, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield what Spark wrote."""
    for file in parquet_files(folder):
        with file.open("rb") as opened, pq.ParquetFile(opened) as table:
            yield from table.iter_batches(columns=columns)
