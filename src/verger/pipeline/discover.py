"""The discover stage: find the photos of the source and divide them into partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from verger.engine.spark.hadoop import HadoopFolder, find_hadoop, hadoop_images
from verger.errors import SettingsError
from verger.photo_names import heic_advice
from verger.pipeline.context import LISTING, RunContext
from verger.settings import Settings
from verger.sources.packed import SHARD_RULE, find_packed, list_packed_photos
from verger.sources.partitions import Listing, PartitionRule, Selection, list_photo_files
from verger.storage.uri import AnyPath

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from verger.engine.spark.engine import SparkEngine

Photos = Listing | HadoopFolder


def find_photos(context: RunContext, src: str) -> Photos:
    """Return the photos of `src`: as a listing written to disk, or as a folder that only Spark can read."""
    if (hadoop := find_hadoop(src)) is not None:
        return hadoop
    if (packed := find_packed(src)) is not None:
        selection = photo_selection(context.settings)
        return _record_listing(context, lambda folder: list_packed_photos(packed, selection, folder))
    return _list_loose_photos(context, src)


def find_photos_to_pack(context: RunContext, src: str) -> Listing:
    """List the photos of `src`, one partition per shard that `pack` writes.

    Raises SettingsError if the photos are packed already.
    """
    if find_packed(src) is not None:
        raise SettingsError("source", src, "photos that are not packed; this source is a result of `verger pack`")
    return _list_loose_photos(context, src, SHARD_RULE)


def _list_loose_photos(context: RunContext, src: str, rule: PartitionRule | None = None) -> Listing:
    selection, n_slots = photo_selection(context.settings), context.engine.n_slots
    return _record_listing(context, lambda folder: list_photo_files(src, selection, folder, n_slots, rule))


def _record_listing(context: RunContext, write: Callable[[AnyPath], Listing]) -> Listing:
    """Call `write` with the folder of the listing; record the time and the number of photos in the manifest."""
    context.progress.stage("list photos")
    with context.manifest.timed("list"):
        listing = write(context.stage / LISTING)
    context.manifest.counts["listed"] = listing.n_photos
    context.manifest.skipped_files = dict(listing.skipped)
    if advice := heic_advice(listing.skipped):
        context.progress.note(advice)
    context.manifest.label_warnings = list(listing.warnings)
    return listing


def photo_selection(settings: Settings) -> Selection:
    """Return the rules in the settings by which photos are selected and labelled."""
    return Selection(settings.glob, settings.label, settings.limit, settings.sample)


def read_hadoop_photos(context: RunContext, photos: HadoopFolder) -> tuple[DataFrame, int]:
    """Return a DataFrame with the photos of a Hadoop file system and their content; and the number of photos."""
    session = cast("SparkEngine", context.engine).session
    spark = session.spark()
    return session.run(lambda: hadoop_images(spark, photos, photo_selection(context.settings)))
