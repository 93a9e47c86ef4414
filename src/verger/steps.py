"""The steps of the chain but the reduction: each does a stage in the staging folder, and notes it."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from verger import ingest, schema
from verger.context import is_connect
from verger.decode import read_photo
from verger.errors import DecodeError, ResultError, SettingsError, StorageError
from verger.export import features_of, write_copies, write_parquet, write_rejected
from verger.featurize.device import CPU, prepare_on
from verger.featurize.journal import COMPUTED, Journal
from verger.featurize.network import Network
from verger.featurize.onnx_session import import_runtime
from verger.featurize.runtime import Extractor, featurize_photo
from verger.featurize.spark import Counts
from verger.featurize.spark import featurize as featurize_images
from verger.featurize.worker import WorkerOptions
from verger.manifest import Manifest
from verger.report.artefacts import open_table, stream
from verger.resume import Earlier, find_earlier, fingerprint, mark
from verger.uri import AnyPath, parquet_files, remove_tree
from verger.workplace import FEATURES, LISTING, REJECTED, Workplace

PATIENCE_S = 20.0
NO_EXECUTORS = (
    "waiting: the cluster has given no executor yet; it is busy, or its workers are smaller than "
    "--conf spark.executor.memory=1g, Spark's default"
)

_N_PARITY_PHOTOS = 16


Photos = ingest.Listing | ingest.Packed | ingest.HadoopFolder


def find_photos(place: Workplace, src: str) -> Photos:
    """Return the photos of the source: loose ones listed while Spark starts, or what Spark will read by itself."""
    if (hadoop := ingest.find_hadoop(src)) is not None:
        return hadoop
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
        images = _images(place, listing)
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


@dataclass(frozen=True)
class Featurized:
    """The features' folder, and where they are those of the result in place and some more, the table of these."""

    table: AnyPath
    additions: AnyPath | None


def featurize(place: Workplace, photos: Photos, network: Network) -> Featurized:
    """Write `features` and `rejected` from one pass over the photos, less what earlier runs have done."""
    earlier = _recall(place, network)
    if earlier is not None:
        photos = _mark(place, photos, earlier)
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = _images(place, photos)
    # Spark Connect has no accumulators: how far it is, it does not tell.
    counts = None if is_connect(images.sparkSession) else Counts(images)
    options = WorkerOptions(place.settings.max_pixels)
    folder = _open_journal(place, network)
    journal = Journal(str(folder), earlier.known if earlier else None)
    outcomes = featurize_images(images, network, options, counts, journal)

    def write() -> None:
        write_parquet(features_of(outcomes), place.stage / FEATURES)
        # From the journal: the photos are decoded once, and memory holds none of it.
        write_rejected(place.session.spark(), folder, place.stage / REJECTED)

    place.progress.stage("featurize", place.manifest.counts["listed"])
    with place.manifest.timed("featurize"):
        place.session.run(write, _watch(place, counts) if counts else lambda: None)
    place.manifest.network = network.describe() | {
        "spec": asdict(place.spec),
        "fingerprint": _fingerprint(place, network),
    }
    _count(place)
    place.progress.advance(place.manifest.counts["listed"], place.manifest.counts["rejected"])
    if earlier is None:
        return Featurized(place.stage / FEATURES, None)
    return Featurized(place.stage / FEATURES, _additions(place, folder, earlier))


def _fingerprint(place: Workplace, network: Network) -> str:
    return fingerprint(network, place.settings.max_pixels)


def _recall(place: Workplace, network: Network) -> Earlier | None:
    """Find what earlier runs have done, where this one is to resume."""
    if not place.settings.resume:
        return None
    place.progress.stage("recall")
    with place.manifest.timed("recall"):
        return find_earlier(place.out, place.journal, _fingerprint(place, network))


def _mark(place: Workplace, photos: Photos, earlier: Earlier) -> Photos:
    """Mark the photos that are known; those that Spark reads by itself are known by their content alone."""
    prune = place.settings.prune
    if not isinstance(photos, ingest.Listing):
        if earlier.n_published and not prune:
            raise SettingsError("prune", prune, "true where Spark reads the photos: the result is of these alone")
        return photos
    with place.manifest.timed("recall"):
        marked = mark(photos, earlier, prune=prune)
    place.manifest.counts |= {"listed": marked.n_photos, "gone": marked.n_photos - photos.n_photos}
    return marked


def _additions(place: Workplace, journal: AnyPath, earlier: Earlier) -> AnyPath | None:
    """Count what is new; return the journal where it is all that the result in place has not."""
    counts = place.manifest.counts
    counts["computed"] = _tally(journal, COMPUTED)[True]
    counts["reused"] = counts["features"] - counts["computed"]
    n_unchanged = counts["features"] - _tally(journal, "reason")[None]
    return journal if 0 < earlier.n_published == n_unchanged else None


def _open_journal(place: Workplace, network: Network) -> AnyPath:
    """Return the folder that takes what the tasks of this run have done."""
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    folder = place.journal / _fingerprint(place, network) / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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


def _images(place: Workplace, photos: Photos) -> DataFrame:
    spark = place.session.spark()
    if isinstance(photos, ingest.Listing):
        columns = schema.MARKED_LISTING if place.settings.resume else schema.LISTING
        return place.session.run(lambda: ingest.images(spark, photos, columns))
    if isinstance(photos, ingest.HadoopFolder):
        found = place.session.run(lambda: ingest.hadoop_images(spark, photos, _selection(place)))
        images, place.manifest.counts["listed"] = found
        return images
    images = place.session.run(lambda: ingest.packed_images(spark, photos, _selection(place)))
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
    if manifest.command == "pack":
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


def _tally(folder: AnyPath, column: str) -> Counter[Any]:
    found = Counter[Any]()
    table = open_table(folder.parent, folder.name)
    for batch in stream(table, [column]) if table is not None else ():
        found.update({pair["values"]: pair["counts"] for pair in pc.value_counts(batch[column]).to_pylist()})
    return found


def _batches(folder: AnyPath, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield what Spark wrote."""
    for file in parquet_files(folder):
        with file.open("rb") as opened, pq.ParquetFile(opened) as table:
            yield from table.iter_batches(columns=columns)
