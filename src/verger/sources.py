"""The first step of the chain: find the photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from verger import ingest
from verger.errors import SettingsError
from verger.tasks.featurize import Partition
from verger.uri import AnyPath
from verger.workplace import LISTING, Workplace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from verger.engine.spark import SparkEngine

Photos = ingest.Listing | ingest.HadoopFolder


def find_photos(place: Workplace, src: str) -> Photos:
    """Return the photos of the source: listed, or as what only Spark can read."""
    hadoop = ingest.find_hadoop(src)
    return list_photos(place, src) if hadoop is None else hadoop


def list_photos(place: Workplace, src: str) -> ingest.Listing:
    """List loose or packed photos, cut into tasks."""
    packed = ingest.find_packed(src)
    if packed is None:
        return _listed(place, lambda folder: _write_loose(place, src, folder))
    return _listed(place, lambda folder: ingest.write_packed_listing(packed, selection(place), folder))


def list_shards(place: Workplace, src: str) -> ingest.Listing:
    """List loose photos, cut into shards to pack."""
    if ingest.find_packed(src) is not None:
        raise SettingsError("source", src, "loose photos: these are packed already")
    return _listed(place, lambda folder: _write_loose(place, src, folder, ingest.SHARDS))


def _write_loose(place: Workplace, src: str, folder: AnyPath, cut: ingest.Cut | None = None) -> ingest.Listing:
    return ingest.write_listing(src, selection(place), folder, place.engine.n_slots, cut)


def _listed(place: Workplace, write: Callable[[AnyPath], ingest.Listing]) -> ingest.Listing:
    """Write the listing of a run; time it and note how many photos it has."""
    place.progress.stage("list photos")
    with place.manifest.timed("list"):
        listing = write(place.stage / LISTING)
    place.manifest.counts["listed"] = listing.n_photos
    return listing


def selection(place: Workplace) -> ingest.Selection:
    """Return which photos the settings ask for, and how they are labelled."""
    settings = place.settings
    return ingest.Selection(settings.glob, settings.label, settings.limit, settings.sample)


def partitions_of(listing: ingest.Listing) -> list[Partition]:
    """Return the tasks of a listing."""
    return [Partition(number, str(ingest.task_file(listing.folder, number))) for number in range(listing.n_tasks)]


def hadoop_frame(place: Workplace, photos: ingest.HadoopFolder) -> DataFrame:
    """Return photos on a Hadoop file system as a DataFrame with their content; count them."""
    session = cast("SparkEngine", place.engine).session
    spark = session.spark()
    frame, place.manifest.counts["listed"] = session.run(
        lambda: ingest.hadoop_images(spark, photos, selection(place))
    )
    return frame
