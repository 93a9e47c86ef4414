"""DataFrames of photos, for `ImageFeaturizer`."""

from __future__ import annotations

import atexit
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
from verger.sources.partitions import Listing, Selection, write_listing
from verger.storage import schemas
from verger.storage.arrow import binaries
from verger.storage.uri import parquet_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def read_images(spark: SparkSession, src: str, selection: Selection | None = None) -> DataFrame:
    """Return the photos of `src` as (path, modificationTime, length, label), one partition per task.

    `ImageFeaturizer` reads the contents by path; `with_content` adds them in the form of Spark's `binaryFile`.
    Photos of a Hadoop file system have their content already. Raises SourceError if there are no photos.
    """
    selection = selection or Selection()
    if (hadoop := find_hadoop(src)) is not None:
        return hadoop_images(spark, hadoop, selection)[0]
    folder = Path(tempfile.mkdtemp(prefix="verger-listing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listing = write_listing(src, selection, folder, n_slots(spark))
    # A cluster cannot read this machine's folders.
    return images(spark, listing) if is_local(spark) else sent_along(spark, listing)


def images(spark: SparkSession, listing: Listing) -> DataFrame:
    """Return a listing as a DataFrame with one partition per task."""
    if is_connect(spark):
        return sent_along(spark, listing)
    # The cost of opening a file equals the limit of a partition, so that each file gets its own partition.
    spark.conf.set("spark.sql.files.openCostInBytes", spark.conf.get("spark.sql.files.maxPartitionBytes") or "")
    return spark.read.schema(schemas.ddl(schemas.LISTING)).parquet(str(listing.folder))


def sent_along(spark: SparkSession, listing: Listing) -> DataFrame:
    """Return a listing as a DataFrame with its content, for workers that cannot read this machine's folders."""
    files = [(number, file.read_bytes()) for number, file in enumerate(parquet_files(listing.folder))]
    tasks = spark.createDataFrame(files, "number int, file binary").repartitionByRange(len(files), "number")

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch["file"].to_pylist():
                yield from pq.read_table(pa.BufferReader(file)).to_batches()

    return tasks.mapInArrow(unpack, schemas.ddl(schemas.LISTING))


def with_content(images: DataFrame) -> DataFrame:
    """Return images with their bytes: Spark's `binaryFile` columns, plus label.

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
