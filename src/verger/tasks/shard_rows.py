"""Photos in shards of `verger pack`: the rows of a listing with the bytes of their photos."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage import schemas
from verger.storage.arrow import binaries, booleans
from verger.storage.uri import any_path
from verger.tasks.earlier_features import EARLIER

# Photos held at a time, besides the row group that they come from.
_ROWS_A_BATCH = 16


def add_shard_content(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a listing of packed photos with their `content`, a few at a time.

    Rows with a place in an earlier run's tables get null: their features are known.
    """
    start = 0
    for shard, group in itertools.groupby(rows[schemas.SHARD].to_pylist()):
        n_rows = len(list(group))
        part = rows.slice(start, n_rows)
        start += n_rows
        yield from _without_content(part) if shard is None else _filled(part, shard)


def read_shard_photos(listing: Sequence[str], paths: set[str]) -> dict[str, bytes]:
    """Return the bytes of those of `paths` that the files of a listing have in shards; of loose photos none."""
    found: dict[str, bytes] = {}
    for file in listing:
        with any_path(file).open("rb") as opened, pq.ParquetFile(opened) as table:
            if schemas.SHARD not in table.schema_arrow.names or paths <= found.keys():
                break
            rows = table.read(columns=["path", schemas.SHARD, schemas.ROW])
        is_wanted = booleans([path in paths for path in rows["path"].to_pylist()])
        for batch in add_shard_content(rows.filter(is_wanted)):
            found |= dict(zip(batch["path"].to_pylist(), batch["content"].to_pylist(), strict=True))
    return found


def _without_content(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in rows.to_batches(_ROWS_A_BATCH):
        yield batch.append_column("content", binaries([None] * batch.num_rows))


def _filled(rows: pa.Table, shard: str) -> Iterator[pa.RecordBatch]:
    """Yield rows of one shard, which are in the order of their numbers there."""
    numbers = rows[schemas.ROW].to_pylist()
    places = rows[EARLIER].to_pylist() if EARLIER in rows.schema.names else [None] * len(numbers)
    wanted = {number for number, place in zip(numbers, places, strict=True) if place is None}
    with any_path(shard).open("rb") as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
        contents = _contents(file, wanted)
        for at in range(0, rows.num_rows, _ROWS_A_BATCH):
            part = rows.slice(at, _ROWS_A_BATCH)
            held = [next(contents) if number in wanted else None for number in numbers[at : at + _ROWS_A_BATCH]]
            (batch,) = part.combine_chunks().to_batches()
            yield batch.append_column("content", binaries(held))


def _contents(file: pq.ParquetFile, wanted: set[int]) -> Iterator[bytes | None]:
    """Yield the content of the wanted rows, in their order; row groups without any are not read."""
    first = 0
    for group in range(file.num_row_groups):
        n_rows = file.metadata.row_group(group).num_rows
        if not wanted.isdisjoint(range(first, first + n_rows)):
            row = first
            for batch in file.iter_batches(_ROWS_A_BATCH, row_groups=[group], columns=["content"]):
                for value in batch.column(0):
                    if row in wanted:
                        yield value.as_py()
                    row += 1
        first += n_rows
