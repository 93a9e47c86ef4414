"""Features of earlier runs, read from their tables to be reused.

A row id is `table << 32 | row`: the number of a Parquet file, and the number of a row in this file.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from verger.kernel.networks.inference import PhotoFeatures
from verger.storage.arrow import numbers_of
from verger.storage.uri import any_path

_COLUMNS = ["path", "sha256", "width", "height", "features"]
ROW_BITS = 32

# The column of a listing with the row id of a photo's features in an earlier run's tables.
EARLIER = "earlier"
NO_ROW = -1

Keys = npt.NDArray[np.uint64]
RowIds = npt.NDArray[np.int64]


def make_row_id(table: int, row: int) -> int:
    """Return the id of a row of a table."""
    return table << ROW_BITS | row


@dataclass(frozen=True)
class ReusedFeatures(PhotoFeatures):
    """Features of an earlier run, not computed again."""


@dataclass(frozen=True)
class KeyIndex:
    """Map of 64-bit keys to row ids, in two arrays sorted by key (16 bytes per entry).

    If several entries have the same key, the first is found.
    """

    keys: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    row_ids: RowIds = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def build(cls, keys: Keys, row_ids: RowIds) -> KeyIndex:
        """Return the index of unsorted entries."""
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], row_ids[order])

    def find(self, keys: Keys) -> RowIds:
        """Return the row id of each key, or NO_ROW."""
        if not len(self.keys):
            return np.full(len(keys), NO_ROW, np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.row_ids[at], NO_ROW)


@dataclass(frozen=True)
class EarlierFeatures:
    """The tables of features of earlier runs.

    by_content: index of the row ids; the keys are the first 64 bits of the photos' sha256.
    """

    tables: tuple[str, ...]
    by_content: KeyIndex

    def features_at(self, row_id: int, path: str) -> ReusedFeatures | None:
        """Return the features in a row if the row belongs to the photo `path`, otherwise None."""
        found = self._read(row_id)
        return _features(*found) if _text(*found, "path") == path else None

    def features_of_content(self, sha256: str) -> ReusedFeatures | None:
        """Return the features of a photo whose bytes have this hash, or None."""
        (row_id,) = self.by_content.find(np.array([content_key(sha256)], np.uint64)).tolist()
        if row_id == NO_ROW:
            return None
        found = self._read(row_id)
        return _features(*found) if _text(*found, "sha256") == sha256 else None

    def _read(self, row_id: int) -> tuple[pa.RecordBatch, int]:
        """Return the row group that contains a row, and the row's number in this row group."""
        table, row = self.tables[row_id >> ROW_BITS], row_id & ((1 << ROW_BITS) - 1)
        ends = _ends(table)
        group = bisect_right(ends, row)
        return _read_group(table, group), row - (ends[group - 1] if group else 0)


def content_key(sha256: str) -> int:
    """Return the first 64 bits of a hexadecimal sha256."""
    return int(sha256[:16], 16)


# Small caches are enough: photos that are neighbours in a folder are neighbours in the table.


@functools.lru_cache(maxsize=4)
def _open(table: str) -> pq.ParquetFile:
    return pq.ParquetFile(any_path(table).open("rb"))


@functools.lru_cache(maxsize=4)
def _ends(table: str) -> list[int]:
    metadata = _open(table).metadata
    return list(accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))


@functools.lru_cache(maxsize=4)
def _read_group(table: str, group: int) -> pa.RecordBatch:
    (batch,) = _open(table).read_row_group(group, columns=_COLUMNS).combine_chunks().to_batches()
    return batch


def _text(batch: pa.RecordBatch, row: int, column: str) -> str | None:
    text: str | None = batch[column][row].as_py()
    return text


def _features(batch: pa.RecordBatch, row: int) -> ReusedFeatures:
    sha256, width, height = (batch[name][row].as_py() for name in ("sha256", "width", "height"))
    vector = numbers_of(batch["features"][row].values)
    return ReusedFeatures(sha256, width, height, vector)
