"""Photos to the `images` table: find (`walk`), label, cut into tasks (`listing`), hand to Spark."""

from verger.ingest.hadoop import HadoopFolder, find_hadoop, hadoop_images
from verger.ingest.images import SET_ASIDE, images, read_images, with_content, without_metadata
from verger.ingest.listing import TASK_WEIGHT, Cut, Listing, Selection, task_file, write_listing, write_task
from verger.ingest.packed import (
    IMAGES,
    SHARDS,
    Packed,
    find_packed,
    packed_images,
    row_group_bytes,
    write_shards,
)

__all__ = [
    "IMAGES",
    "SET_ASIDE",
    "SHARDS",
    "TASK_WEIGHT",
    "Cut",
    "HadoopFolder",
    "Listing",
    "Packed",
    "Selection",
    "find_hadoop",
    "find_packed",
    "hadoop_images",
    "images",
    "packed_images",
    "read_images",
    "row_group_bytes",
    "task_file",
    "with_content",
    "without_metadata",
    "write_listing",
    "write_shards",
    "write_task",
]
