"""The first step of the chain: find the photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from verger.engine.spark.hadoop import HadoopFolder, find_hadoop, hadoop_images
from verger.errors import SettingsError
from verger.pipeline.context import LISTING, Workplace
from verger.sources.packed import SHARD_RULE, find_packed, write_packed_listing
from verger.sources.partitions import Listing, PartitionRule, Selection, partition_file, write_listing
from verger.storage.uri import AnyPath
from verger.tasks.featurize import Partition

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from verger.engine.spark.engine import SparkEngine

Photos = Listing | HadoopFolder


def find_photos(place: Workplace, src: str) -> Photos:
    """Return the photos of the source: listed, or as what only Spark can read."""
    hadoop = find_hadoop(src)
    return list_photos(place, src) if hadoop is None else hadoop


def list_photos(place: Workplace, src: str) -> Listing:
    """List loose or packed photos, split into partitions."""
    packed = find_packed(src)
    if packed is None:
        return _listed(place, lambda folder: _write_loose(place, src, folder))
    return _listed(place, lambda folder: write_packed_listing(packed, selection(place), folder))


def list_shards(place: Workplace, src: str) -> Listing:
    """List loose photos, split into shards to pack."""
    if find_packed(src) is not None:
        raise SettingsError("source", src, "loose photos: these are packed already")
    return _listed(place, lambda folder: _write_loose(place, src, folder, SHARD_RULE))


def _write_loose(place: Workplace, src: str, folder: AnyPath, rule: PartitionRule | None = None) -> Listing:
    return write_listing(src, selection(place), folder, place.engine.n_slots, rule)


def _listed(place: Workplace, write: Callable[[AnyPath], Listing]) -> Listing:
    """Write the listing of a run; time it and note how many photos it has."""
    place.progress.stage("list photos")
    with place.manifest.timed("list"):
        listing = write(place.stage / LISTING)
    place.manifest.counts["listed"] = listing.n_photos
    return listing


def selection(place: Workplace) -> Selection:
    """Return which photos the settings ask for, and how they are labelled."""
    settings = place.settings
    return Selection(settings.glob, settings.label, settings.limit, settings.sample)


def partitions_of(listing: Listing) -> list[Partition]:
    """Return the tasks of a listing."""
    return [
        Partition(number, str(partition_file(listing.folder, number))) for number in range(listing.n_partitions)
    ]


def hadoop_frame(place: Workplace, photos: HadoopFolder) -> DataFrame:
    """Return photos on a Hadoop file system as a DataFrame with their content; count them."""
    session = cast("SparkEngine", place.engine).session
    spark = session.spark()
    frame, place.manifest.counts["listed"] = session.run(lambda: hadoop_images(spark, photos, selection(place)))
    return frame
