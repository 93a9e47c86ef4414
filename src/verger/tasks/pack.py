"""The pack task: write the bytes of a partition's photos to a shard, which is a Parquet file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import DecodeError, Reason
from verger.kernel.decode.shrink import shrink_photo
from verger.kernel.networks.inference import Decode
from verger.privacy.metadata import strip_metadata
from verger.sources.content import Content, read_photos
from verger.sources.partitions import Partition
from verger.storage import schemas
from verger.storage.arrow import binaries, strings
from verger.storage.uri import any_path, read_parquet
from verger.tasks.base import Attempt
from verger.tasks.child_decoder import open_photo_tools
from verger.tasks.part_files import part_file
from verger.tasks.time_limit import photo_time_limit

# Of a file that cannot be decoded, only this number of bytes is packed: `rejected` shows them as the explanation.
_HEAD_BYTES = 16

# Values of the column `metadata`: what was done with a photo's metadata.
NONE, REMOVED, SET_ASIDE, UNREADABLE = "none", "removed", "set-aside", "unreadable"

_ROWS_PER_BATCH = 512


@dataclass(frozen=True)
class PackJob:
    """Shared state of the pack tasks of a run.

    folder: the folder of the shards. group_bytes: size of the shards' row groups.
    max_side_px: maximum of the longer side; larger photos become smaller copies. None: all photos keep their size.
    photo_timeout_s: time limit for one photo, reading included.
    """

    folder: str
    group_bytes: int
    max_pixels: int
    keeps_metadata: bool
    max_side_px: int | None
    photo_timeout_s: float


def pack_partition(job: PackJob, partition: Partition, attempt: Attempt) -> dict[str, int]:
    """Write the shard of a partition of a listing; return the number of photos for each value of `metadata`.

    The content of a photo that cannot be read is null. The shard is not compressed: photos already are.
    """
    rows = read_parquet(any_path(partition.file))
    kind = schemas.IMAGES if job.keeps_metadata else schemas.PACKED
    counts = Counter[str]()
    with (
        part_file(any_path(job.folder) / f"shard-{partition.number:06d}.parquet") as target,
        pq.ParquetWriter(target, kind, compression="none", use_dictionary=False, write_statistics=False) as writer,
        photo_time_limit(job.photo_timeout_s, attempt) as restart,
        open_photo_tools(
            job.max_pixels, in_child=attempt.number > 0, photo_timeout_s=job.photo_timeout_s
        ) as photo_tools,
    ):
        group = _RowGroup(writer, kind)
        for batch in rows.to_batches(_ROWS_PER_BATCH):
            contents = read_photos(batch["path"].to_pylist(), job.max_pixels, photo_tools.read)
            for number, content in enumerate(contents):
                restart()
                kept, metadata = _pack(content, job, photo_tools.decode, is_retry=attempt.number > 0)
                counts[metadata] += 1
                group.add(batch.slice(number, 1), kept, metadata)
                if group.n_bytes >= job.group_bytes:
                    group.write()
                attempt.report(1, 0)
                restart()  # for reading the next photo
        group.write()
    return {} if job.keeps_metadata else dict(counts)


class _RowGroup:
    """Collects rows and photos, and writes them as a row group."""

    def __init__(self, writer: pq.ParquetWriter, kind: pa.Schema) -> None:
        self._writer = writer
        self._schema = kind
        self._rows: list[pa.RecordBatch] = []
        self._contents: list[bytes | None] = []
        self._metadata: list[str] = []
        self.n_bytes = 0

    def add(self, row: pa.RecordBatch, content: bytes | None, metadata: str) -> None:
        self._rows.append(row)
        self._contents.append(content)
        self._metadata.append(metadata)
        self.n_bytes += len(content or b"")

    def write(self) -> None:
        if not self._rows:
            return
        listed = pa.Table.from_batches(self._rows)
        columns = {name: listed[name] for name in listed.schema.names}
        columns |= {"content": pa.chunked_array([binaries(self._contents)])}
        columns |= {"metadata": pa.chunked_array([strings(self._metadata)])}
        table = pa.Table.from_arrays([columns[name] for name in self._schema.names], schema=self._schema)
        self._writer.write_table(table, row_group_size=len(self._rows))
        self._rows, self._contents, self._metadata, self.n_bytes = [], [], [], 0


def _pack(content: Content, job: PackJob, decode: Decode, *, is_retry: bool) -> tuple[bytes | None, str]:
    """Return the content to write, and the value for the column `metadata` ("" if metadata is kept)."""
    if isinstance(content, DecodeError):
        return None, "" if job.keeps_metadata else UNREADABLE
    if is_retry and _is_deadly(content, decode):
        return (content, "") if job.keeps_metadata else (content[:_HEAD_BYTES], SET_ASIDE)
    small = _shrink(content, job, decode)
    return (small, "") if job.keeps_metadata else _strip(small, job.max_pixels)


def _is_deadly(content: bytes, decode: Decode) -> bool:
    """Return whether decoding kills the process or takes too long; such a photo is neither shrunk nor stripped."""
    try:
        decode(content)
    except DecodeError as error:
        return error.reason in (Reason.POISON, Reason.TIMEOUT)
    return False


def _shrink(content: bytes, job: PackJob, decode: Decode) -> bytes:
    """Return a smaller copy if one is requested; a file that cannot be decoded is returned unchanged."""
    if job.max_side_px is None:
        return content
    try:
        return shrink_photo(content, job.max_side_px, decode)
    except (DecodeError, MemoryError):
        return content


def _strip(content: bytes, max_pixels: int) -> tuple[bytes, str]:
    """Return the photo without metadata, or the first bytes of any other file; and the value for `metadata`."""
    try:
        kept = strip_metadata(content, max_pixels=max_pixels)
    except (DecodeError, MemoryError):
        return content[:_HEAD_BYTES], SET_ASIDE
    return kept, NONE if kept is content else REMOVED
