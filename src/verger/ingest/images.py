"""The `images` table: a listing as a DataFrame."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from verger import schema
from verger.columns import binaries, strings
from verger.content import read_photos
from verger.context import is_connect, is_local, n_slots
from verger.errors import DecodeError
from verger.ingest.hadoop import find_hadoop, hadoop_images
from verger.ingest.listing import Listing, Selection, write_listing
from verger.metadata import strip_metadata
from verger.uri import parquet_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# What became of a photo's metadata, where they are to be left out.
# What a format is known by, and no more than a row of `rejected` tells of any file.
_HEAD_BYTES = 16

NONE, REMOVED, SET_ASIDE, UNREADABLE = "none", "removed", "set-aside", "unreadable"


def read_images(spark: SparkSession, src: str, selection: Selection | None = None) -> DataFrame:
    """Return the photos of `src` as (path, modificationTime, length, label), cut into tasks.

    `ImageFeaturizer` reads the contents by path; `with_content` adds them as Spark's `binaryFile` would.
    Those of a Hadoop file system come with their content. Raises SourceError where there are no photos.
    """
    selection = selection or Selection()
    if (hadoop := find_hadoop(src)) is not None:
        return hadoop_images(spark, hadoop, selection)[0]
    folder = Path(tempfile.mkdtemp(prefix="verger-listing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listing = write_listing(src, selection, folder, n_slots(spark))
    # A cluster does not see this machine's folders.
    return images(spark, listing) if is_local(spark) else sent_along(spark, listing)


def images(spark: SparkSession, listing: Listing, columns: str = schema.LISTING) -> DataFrame:
    """Return a listing as a DataFrame with one partition a task; `columns` may be schema.MARKED_LISTING."""
    if is_connect(spark):
        return sent_along(spark, listing, columns)
    # A file's opening "costs" as much as a partition may hold, so that none shares one.
    spark.conf.set("spark.sql.files.openCostInBytes", spark.conf.get("spark.sql.files.maxPartitionBytes") or "")
    return spark.read.schema(columns).parquet(str(listing.folder))


def sent_along(spark: SparkSession, listing: Listing, columns: str = schema.LISTING) -> DataFrame:
    """Return a listing as a DataFrame that holds its files: for workers that do not see this machine's folders."""
    files = [(number, file.read_bytes()) for number, file in enumerate(parquet_files(listing.folder))]
    tasks = spark.createDataFrame(files, "number int, file binary").repartitionByRange(len(files), "number")

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch["file"].to_pylist():
                yield from pq.read_table(pa.BufferReader(file)).to_batches()

    return tasks.mapInArrow(unpack, columns)


def with_content(images: DataFrame) -> DataFrame:
    """Return images with their bytes: Spark's `binaryFile` columns, plus label.

    The content of a photo that cannot be read is null.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _filled(batches, lambda content: {"content": binaries([content])}, schema.IMAGES)

    return images.mapInArrow(read, schema.IMAGES)


def without_metadata(images: DataFrame, max_pixels: int) -> DataFrame:
    """Return images with their bytes, less what these tell beside the picture, as schema.PACKED.

    metadata: none, removed, unreadable (then the content is null), or set-aside where it could not be told from the
    rest: then the content is the file's first bytes, enough to say later why it is no photo.
    """

    def strip(content: bytes | None) -> dict[str, pa.Array]:
        kept, word = _stripped(content, max_pixels)
        return {"content": binaries([kept]), "metadata": strings([word])}

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _filled(batches, strip, schema.PACKED)

    return images.mapInArrow(read, schema.PACKED)


def _stripped(content: bytes | None, max_pixels: int) -> tuple[bytes | None, str]:
    if content is None:
        return None, UNREADABLE
    try:
        kept = strip_metadata(content, max_pixels=max_pixels)
    except DecodeError:
        return content[:_HEAD_BYTES], SET_ASIDE
    return kept, NONE if kept is content else REMOVED


def _filled(
    batches: Iterable[pa.RecordBatch],
    made_of: Callable[[bytes | None], dict[str, pa.Array]],
    ddl: str,
) -> Iterator[pa.RecordBatch]:
    """Yield a photo at a time with the columns made of its content."""
    names = schema.columns(ddl)
    for batch in batches:
        for row, read in enumerate(read_photos(batch["path"].to_pylist())):
            columns = dict(zip(batch.schema.names, batch.slice(row, 1).columns, strict=True))
            columns |= made_of(read if isinstance(read, bytes) else None)
            yield pa.RecordBatch.from_arrays([columns[name] for name in names], names)
