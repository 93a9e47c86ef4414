"""`read_images`: the photos of a source as a Spark DataFrame."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from verger.engine.spark.compat import is_connect, is_local, n_slots
from verger.engine.spark.hadoop import find_hadoop, hadoop_images
from verger.sources.content import read_photos
from verger.sources.partitions import Listing, Selection, list_photo_files, partition_file
from verger.storage import schemas
from verger.storage.arrow import binaries
from verger.storage.table_files import parquet_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)


def read_images(spark: SparkSession, src: str, selection: Selection | None = None) -> DataFrame:
    """Return the photos of `src` as (path, modificationTime, length, label), in partitions of similar work.

    `ImageFeaturizer` reads the contents by path; `with_content` adds them as a column, as in Spark's `binaryFile`.
    Photos of a Hadoop file system already include their content. To read them, other session settings are needed,
    which are set in a copy of the session; with Spark Connect, which cannot copy a session, in `spark` itself.
    Raises SourceError if there are no photos.
    """
    selection = selection or Selection()
    if (hadoop := find_hadoop(src)) is not None:
        return hadoop_images(_copy_session(spark), hadoop, selection)[0]
    folder = Path(tempfile.mkdtemp(prefix="verger-listing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listing = list_photo_files(src, selection, folder, n_slots(spark))
    for warning in listing.warnings:
        logger.warning(warning)
    # The workers of a cluster cannot read the folders of this machine.
    return read_listing(spark, listing) if is_local(spark) else send_listing(spark, listing)


def _copy_session(spark: SparkSession) -> SparkSession:
    if is_connect(spark):
        return spark
    return type(spark)(spark.sparkContext, spark._jsparkSession.cloneSession())


def read_listing(spark: SparkSession, listing: Listing) -> DataFrame:
    """Return a listing as a DataFrame with the same partitions; the workers read the files of the listing."""
    folder = Path(str(listing.folder))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from pq.read_table(partition_file(folder, number)).to_batches()

    # spark.read.parquet is not used, because its partitions depend on settings of the session.
    numbers = spark.range(0, listing.n_partitions, numPartitions=listing.n_partitions)
    return numbers.mapInArrow(read, schemas.ddl(schemas.LISTING))


def send_listing(spark: SparkSession, listing: Listing) -> DataFrame:
    """Return a listing as a DataFrame. The driver sends the listing's files to workers that cannot read them."""
    files = [(number, file.read_bytes()) for number, file in enumerate(parquet_files(listing.folder))]
    partitions = spark.createDataFrame(files, "number int, file binary").repartitionByRange(len(files), "number")

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch["file"].to_pylist():
                yield from pq.read_table(pa.BufferReader(file)).to_batches()

    return partitions.mapInArrow(unpack, schemas.ddl(schemas.LISTING))


def with_content(images: DataFrame) -> DataFrame:
    """Return images with their bytes: the columns of Spark's `binaryFile`, and the column label.

    The content of a photo that cannot be read is null.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row, content in enumerate(read_photos(batch["path"].to_pylist())):
                columns = dict(zip(batch.schema.names, batch.slice(row, 1).columns, strict=True))
                columns["content"] = binaries([content if isinstance(content, bytes) else None])
                yield pa.RecordBatch.from_arrays([columns[name] for name in names], names)

    names = schemas.IMAGES.names
    return images.mapInArrow(read, schemas.ddl(schemas.IMAGES))
