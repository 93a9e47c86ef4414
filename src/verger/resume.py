"""What earlier runs have done already, matched with the photos of this one.

A photo is known by its path, time and size, else by its content (sha256) once it has been read. Known are the
features of the result in place, and what runs that did not end well left in the journal; what was rejected is tried
again. Vectors stay where they are and are fetched by the workers: the driver holds 50 bytes a known photo, and they
hold 16 where any photo may be known by its content alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.columns import booleans
from verger.featurize.known import NOWHERE, Index, Keys, Known, Places, content_key, place_of
from verger.featurize.network import Network
from verger.ingest import Listing, task_file, write_task
from verger.publish import MANIFEST
from verger.uri import AnyPath, parquet_files
from verger.workplace import FEATURES, LISTING

_EARLIER = "earlier"
_STAT = ["path", "modificationTime", "length"]
_KEPT_ROWS_A_TASK = 16_384


@dataclass(frozen=True)
class Earlier:
    """What is known: `by_stat` (path, time and size) and by content; `listing` is that of the result in place."""

    known: Known
    by_stat: Index
    n_published: int
    listing: AnyPath


@dataclass
class _Entries:
    """What an index is built from, batch by batch."""

    keys: list[Keys] = field(default_factory=lambda: [np.empty(0, np.uint64)])
    places: list[Places] = field(default_factory=lambda: [np.empty(0, np.int64)])

    def add(self, keys: Keys, places: Places) -> None:
        self.keys.append(keys)
        self.places.append(places)

    def index(self) -> Index:
        return Index.build(np.concatenate(self.keys), np.concatenate(self.places))


def fingerprint(network: Network, max_pixels: int) -> str:
    """Return what must be the same for a vector to be good still."""
    return hashlib.sha256(f"{network.key} {max_pixels}".encode()).hexdigest()[:32]


def find_earlier(out: AnyPath, journal: AnyPath, fingerprint: str) -> Earlier:
    """Read what the result at `out` and the journal know of vectors with this fingerprint."""
    published = parquet_files(out / FEATURES) if _is_alike(out, fingerprint) else []
    left = [file for run in _runs(journal / fingerprint) for file in parquet_files(run)]
    stats, contents = _Entries(), _Entries()
    n_published = _read_published(published, out / LISTING, stats, contents)
    _read_left(left, len(published), stats, contents)
    tables = tuple(str(file) for file in (*published, *left))
    known = Known(tables, len(published), contents.index())
    return Earlier(known, stats.index(), n_published, out / LISTING)


def _runs(folder: AnyPath) -> list[AnyPath]:
    return sorted(folder.iterdir(), key=str) if folder.is_dir() else []


def _is_alike(out: AnyPath, fingerprint: str) -> bool:
    if not (out / MANIFEST).is_file() or not (out / FEATURES).is_dir():
        return False
    network: dict[str, Any] = json.loads((out / MANIFEST).read_text()).get("network") or {}
    return network.get("fingerprint") == fingerprint


def _read_published(tables: list[AnyPath], listing: AnyPath, stats: _Entries, contents: _Entries) -> int:
    """Add the features in place; when their photos were written is in the listing. Return how many there are."""
    if not tables:
        return 0
    listed = _Entries()
    for _, rows in _batches(parquet_files(listing), _STAT):
        listed.add(_keys(rows["path"].to_pylist()), _stat_keys(rows).view(np.int64))
    stat_of_path, n_rows = listed.index(), 0
    for places, rows in _batches(tables, ["path", "sha256"]):
        stat = stat_of_path.find(_keys(rows["path"].to_pylist()))
        stats.add(stat[stat != NOWHERE].view(np.uint64), places[stat != NOWHERE])
        contents.add(_content_keys(rows), places)
        n_rows += rows.num_rows
    return n_rows


def _read_left(tables: list[AnyPath], n_before: int, stats: _Entries, contents: _Entries) -> None:
    """Add what is in the journal, less the rejected; `n_before` tables are counted before these."""
    for places, rows in _batches(tables, [*_STAT, "sha256"]):
        kept = rows.filter(rows["sha256"].is_valid())
        at = places[rows["sha256"].is_valid().to_numpy(zero_copy_only=False)] + place_of(n_before, 0)
        stats.add(_stat_keys(kept), at)
        contents.add(_content_keys(kept), at)


def _batches(tables: list[AnyPath], columns: list[str]) -> Iterator[tuple[Places, pa.RecordBatch]]:
    """Yield the rows of the tables, with their places."""
    for number, table in enumerate(tables):
        row = 0
        with table.open("rb") as opened, pq.ParquetFile(opened) as file:
            for batch in file.iter_batches(columns=columns):
                yield place_of(number, row) + np.arange(batch.num_rows), batch
                row += batch.num_rows


def _keys(texts: Iterable[str]) -> Keys:
    digests = (hashlib.blake2b(os.fsencode(text), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def _stat_keys(rows: pa.RecordBatch | pa.Table) -> Keys:
    paths, lengths = rows["path"].to_pylist(), rows["length"].to_pylist()
    times_us = rows["modificationTime"].cast(pa.int64()).to_pylist()
    return _keys(f"{path}\n{us}\n{length}" for path, us, length in zip(paths, times_us, lengths, strict=True))


def _content_keys(rows: pa.RecordBatch) -> Keys:
    return np.array([content_key(sha256) for sha256 in rows["sha256"].to_pylist()], np.uint64)


def mark(listing: Listing, earlier: Earlier, *, prune: bool) -> Listing:
    """Add to a listing where the vector of each known photo lies; without `prune` photos that are gone too."""
    listed = [np.empty(0, np.uint64)]
    for file in parquet_files(listing.folder):
        with file.open("rb") as opened:
            rows = pq.read_table(opened)
        listed.append(_keys(rows["path"].to_pylist()))
        write_task(rows.append_column(_EARLIER, _nullable(earlier.by_stat.find(_stat_keys(rows)))), file)
    gone = _gone(earlier, np.concatenate(listed))
    if prune or not gone.num_rows:
        return listing
    starts = range(0, gone.num_rows, _KEPT_ROWS_A_TASK)
    for number, start in enumerate(starts, listing.n_tasks):
        write_task(gone.slice(start, _KEPT_ROWS_A_TASK), task_file(listing.folder, number))
    return replace(listing, n_photos=listing.n_photos + gone.num_rows, n_tasks=listing.n_tasks + len(starts))


def _gone(earlier: Earlier, listed: Keys) -> pa.Table:
    """Return the photos of the result in place whose paths are not listed any more, with their places."""
    found = []
    for _, rows in _batches(parquet_files(earlier.listing) if earlier.n_published else [], [*_STAT, "label"]):
        places = earlier.by_stat.find(_stat_keys(rows))
        is_gone = ~np.isin(_keys(rows["path"].to_pylist()), listed) & (places != NOWHERE)
        marked = pa.Table.from_batches([rows]).append_column(_EARLIER, _nullable(places))
        found.append(marked.filter(booleans(is_gone.tolist())))
    return pa.concat_tables(found) if found else pa.table({})


def _nullable(places: Places) -> pa.Array:
    return pa.array(places, mask=places == NOWHERE)
