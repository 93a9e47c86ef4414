"""Features of earlier runs, read from the tables they lie in. Imports no pyspark: it runs in workers.

A place is `table << 32 | row`: the number of a Parquet file, and the row in it.
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

# The column of a listing that tells a photo's place.
EARLIER = "earlier"
NO_ROW = -1

Keys = npt.NDArray[np.uint64]
RowIds = npt.NDArray[np.int64]


def row_id(table: int, row: int) -> int:
    """Return the place of a row."""
    return table << ROW_BITS | row


@dataclass(frozen=True)
class ReusedFeatures(PhotoFeatures):
    """Features that were not computed again."""


@dataclass(frozen=True)
class KeyIndex:
    """64-bit keys -> places, in two arrays sorted by key: 16 bytes an entry. The first of equal keys counts."""

    keys: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    places: RowIds = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def build(cls, keys: Keys, places: RowIds) -> KeyIndex:
        """Return the index of unsorted entries."""
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], places[order])

    def find(self, keys: Keys) -> RowIds:
        """Return the place of each key, or NO_ROW."""
        if not len(self.keys):
            return np.full(len(keys), NO_ROW, np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.places[at], NO_ROW)


@dataclass(frozen=True)
class EarlierFeatures:
    """The tables of earlier runs.

    by_content: where vectors lie by the first 64 bits of their photos' sha256.
    """

    tables: tuple[str, ...]
    by_content: KeyIndex

    def at(self, place: int, path: str) -> ReusedFeatures | None:
        """Return the vector of the photo `path`, or None where another photo's lies at that place."""
        found = self._read(place)
        if _text(*found, "path") != path:
            return None
        return _features(*found)

    def of_content(self, sha256: str) -> ReusedFeatures | None:
        """Return the vector of a photo with these bytes, or None."""
        (place,) = self.by_content.find(np.array([content_key(sha256)], np.uint64)).tolist()
        if place == NO_ROW:
            return None
        found = self._read(place)
        return _features(*found) if _text(*found, "sha256") == sha256 else None

    def _read(self, place: int) -> tuple[pa.RecordBatch, int]:
        """Return a part of the table that holds the row, and its number there."""
        table, row = self.tables[place >> ROW_BITS], place & ((1 << ROW_BITS) - 1)
        ends = _ends(table)
        group = bisect_right(ends, row)
        return _read_group(table, group), row - (ends[group - 1] if group else 0)


def content_key(sha256: str) -> int:
    """Return the first 64 bits of a hexadecimal sha256."""
    return int(sha256[:16], 16)


# A photo's neighbours in a folder are neighbours in the table too: a few parts are enough.


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
