"""Spans: ranges of rows in a table's Parquet files, grouped by a fixed number of rows.

PCA is computed group by group. The groups depend only on the number of rows, and not on the engine, the number of
cores or the sizes of the files. So the same rows give the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage.parquet import open_parquet
from verger.storage.uri import any_path


@dataclass(frozen=True)
class Span:
    """The rows from `start` up to `stop` (exclusive) of a Parquet file."""

    file: str
    start: int
    stop: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


Spans = tuple[Span, ...]


def split_into_spans(files: Sequence[tuple[str, int]], n_rows_per_group: int) -> list[Spans]:
    """Return groups of spans; each group has `n_rows_per_group` rows, only the last group may have fewer.

    files: (file, number of rows) pairs, in the order of the rows.
    """
    groups: list[Spans] = []
    held: list[Span] = []
    n_held = 0
    for file, n_rows in files:
        start = 0
        while start < n_rows:
            stop = min(n_rows, start + n_rows_per_group - n_held)
            held.append(Span(file, start, stop))
            n_held += stop - start
            start = stop
            if n_held == n_rows_per_group:
                groups.append(tuple(held))
                held, n_held = [], 0
    return [*groups, tuple(held)] if held else groups


def read_spans(spans: Spans, columns: Sequence[str], n_rows_per_batch: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of spans in batches of `n_rows_per_batch` rows; only the last batch may have fewer."""
    held: list[pa.RecordBatch] = []
    n_held = 0
    for batch in _batches(spans, columns, n_rows_per_batch):
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, n_rows_per_batch - n_held)
            held.append(part)
            n_held += part.num_rows
            start += part.num_rows
            if n_held == n_rows_per_batch:
                yield _joined(held)
                held, n_held = [], 0
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    (joined,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined


def _batches(spans: Spans, columns: Sequence[str], n_rows_per_batch: int) -> Iterator[pa.RecordBatch]:
    for span in spans:
        with open_parquet(any_path(span.file)) as file:
            groups, first = _row_groups(file.metadata, span)
            at = first
            for batch in file.iter_batches(n_rows_per_batch, row_groups=groups, columns=list(columns)):
                low, high = max(span.start - at, 0), min(span.stop - at, batch.num_rows)
                if low < high:
                    yield batch.slice(low, high - low)
                at += batch.num_rows


def _row_groups(metadata: pq.FileMetaData, span: Span) -> tuple[list[int], int]:
    """Return the row groups that overlap a span, and the number of their first row."""
    groups, at, first = list[int](), 0, 0
    for number in range(metadata.num_row_groups):
        n_rows = metadata.row_group(number).num_rows
        if at < span.stop and at + n_rows > span.start:
            if not groups:
                first = at
            groups.append(number)
        at += n_rows
    return groups, first
