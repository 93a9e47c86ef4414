"""Photos to a listing: find (`walk`, `packed`), label, cut into tasks (`listing`).

For the DataFrames of Spark: `images` and `hadoop`.
"""

from verger.ingest.hadoop import HadoopFolder, find_hadoop, hadoop_images
from verger.ingest.images import read_images, with_content
from verger.ingest.listing import TASK_WEIGHT, Cut, Listing, Selection, task_file, write_listing, write_task
from verger.ingest.packed import (
    IMAGES,
    SHARDS,
    Packed,
    find_packed,
    row_group_bytes,
    write_packed_listing,
)

__all__ = [
    "IMAGES",
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
    "read_images",
    "row_group_bytes",
    "task_file",
    "with_content",
    "write_listing",
    "write_packed_listing",
    "write_task",
]
