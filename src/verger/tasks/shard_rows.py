"""Read the bytes of photos from shards of `verger pack`, for the rows of a listing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage import schemas
from verger.storage.arrow import binaries, booleans
from verger.storage.parquet import open_parquet
from verger.storage.uri import any_path, local_file
from verger.tasks.earlier_features import EARLIER

# Number of photos in memory at the same time, in addition to the row group that is being read.
_ROWS_PER_BATCH = 16


def add_shard_content(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a listing of packed photos, with the additional column `content`, a few rows at a time.

    The content is null in rows with a row id in the column EARLIER, because their features are reused.
    """
    start = 0
    for shard, group in itertools.groupby(rows[schemas.SHARD].to_pylist()):
        n_rows = len(list(group))
        part = rows.slice(start, n_rows)
        start += n_rows
        yield from _without_content(part) if shard is None else _with_content(part, shard)


def read_shard_photos(listing: Sequence[str], paths: set[str]) -> dict[str, bytes]:
    """Return path -> bytes for the photos of `paths` that are in shards.

    listing: files of a listing, which contain the location of each photo in its shard.
    """
    found: dict[str, bytes] = {}
    for file in listing:
        with open_parquet(any_path(file)) as table:
            if schemas.SHARD not in table.schema_arrow.names or paths <= found.keys():
                break
            rows = table.read(columns=["path", schemas.SHARD, schemas.ROW])
        is_requested = booleans([path in paths for path in rows["path"].to_pylist()])
        for batch in add_shard_content(rows.filter(is_requested)):
            found |= dict(zip(batch["path"].to_pylist(), batch["content"].to_pylist(), strict=True))
    return found


def _without_content(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in rows.to_batches(_ROWS_PER_BATCH):
        yield batch.append_column("content", binaries([None] * batch.num_rows))


def _with_content(rows: pa.Table, shard: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one shard with the content of their photos, in the order of the shard."""
    numbers = rows[schemas.ROW].to_pylist()
    row_ids = rows[EARLIER].to_pylist() if EARLIER in rows.schema.names else [None] * len(numbers)
    needed = {number for number, row_id in zip(numbers, row_ids, strict=True) if row_id is None}
    with open_parquet(any_path(local_file(shard)), pre_buffer=False) as file:
        contents = _contents(file, needed)
        for at in range(0, rows.num_rows, _ROWS_PER_BATCH):
            part = rows.slice(at, _ROWS_PER_BATCH)
            batch_numbers = numbers[at : at + _ROWS_PER_BATCH]
            column = binaries([next(contents) if number in needed else None for number in batch_numbers])
            (batch,) = part.combine_chunks().to_batches()
            yield batch.append_column("content", column)


def _contents(file: pq.ParquetFile, needed: set[int]) -> Iterator[bytes | None]:
    """Yield the content of the needed rows, in order; row groups without such rows are not read."""
    first = 0
    for group in range(file.num_row_groups):
        n_rows = file.metadata.row_group(group).num_rows
        if not needed.isdisjoint(range(first, first + n_rows)):
            row = first
            for batch in file.iter_batches(_ROWS_PER_BATCH, row_groups=[group], columns=["content"]):
                for value in batch.column(0):
                    if row in needed:
                        yield value.as_py()
                    row += 1
        first += n_rows
