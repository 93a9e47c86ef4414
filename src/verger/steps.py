"""The other steps of the chain: each does a stage in the staging folder, and notes it."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
from pyspark.sql import DataFrame

from verger import ingest
from verger.content import read_photo
from verger.errors import DecodeError, StorageError
from verger.export import write_copies
from verger.featurize.device import CPU
from verger.featurize.network import Network
from verger.featurize.runtime import Extractor, featurize_photo
from verger.manifest import Manifest
from verger.report.artefacts import open_table, stream, tally
from verger.sources import images_of
from verger.uri import AnyPath, remove_tree
from verger.workplace import FEATURES, LISTING, Workplace

_N_PARITY_PHOTOS = 16


def pack(place: Workplace, listing: ingest.Listing) -> None:
    """Write the photos with their bytes into shards: without their metadata, unless these are asked for."""
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = images_of(place, listing)
    place.manifest.counts |= {"bytes": listing.n_bytes, "max_bytes": listing.max_bytes, "shards": listing.n_tasks}
    group_bytes = ingest.row_group_bytes(listing.n_photos, listing.n_bytes)
    folder = place.stage / ingest.IMAGES
    place.progress.stage("pack", listing.n_photos)
    with place.manifest.timed("pack"):
        place.session.run(lambda: ingest.write_shards(_contents(place, images), folder, group_bytes))
    if not place.settings.keep_metadata:
        place.manifest.counts["metadata"] = dict(tally(folder, "metadata").most_common())
    place.progress.advance(listing.n_photos, 0)


def _contents(place: Workplace, images: DataFrame) -> DataFrame:
    if place.settings.keep_metadata:
        return ingest.with_content(images)
    return ingest.without_metadata(images, place.settings.max_pixels)


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
    settings = place.settings
    exact = Extractor(replace(network, precision="f32", device=CPU))
    cosines = []
    table = open_table(place.stage, FEATURES)
    batches = stream(table, ["path", FEATURES]) if table is not None else ()
    rows = (row for batch in batches for row in batch.to_pylist())
    for path, vector in (tuple(row.values()) for row in itertools.islice(rows, _N_PARITY_PHOTOS)):
        try:
            photo = read_photo(path)
            again = featurize_photo(photo, exact, max_pixels=settings.max_pixels, decode=settings.decode).features
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
