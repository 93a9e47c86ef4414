"""The first step of the chain: find the photos, and hand them to Spark."""

from __future__ import annotations

from pyspark.sql import DataFrame

from verger import ingest, schema
from verger.workplace import LISTING, Workplace

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


def images_of(place: Workplace, photos: Photos) -> DataFrame:
    """Return the photos as a DataFrame, cut into tasks."""
    spark = place.session.spark()
    if isinstance(photos, ingest.Listing):
        columns = schema.MARKED_LISTING if place.settings.resume else schema.LISTING
        if not photos.n_photos:
            return spark.createDataFrame([], columns)
        return place.session.run(lambda: ingest.images(spark, photos, columns))
    if isinstance(photos, ingest.HadoopFolder):
        found = place.session.run(lambda: ingest.hadoop_images(spark, photos, _selection(place)))
        images, place.manifest.counts["listed"] = found
        return images
    images = place.session.run(lambda: ingest.packed_images(spark, photos, _selection(place)))
    if _selection(place) != ingest.Selection(label=place.settings.label):  # not all of them
        place.manifest.counts["listed"] = place.session.run(images.count)
    return images
