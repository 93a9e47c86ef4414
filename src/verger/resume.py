"""What earlier runs have done already, matched with the photos of this one.

A photo is known by its path, time and size, else by its content (sha256) once it has been read. Known are the
features of the result in place, and what runs that did not end well left in the journal; what was rejected is tried
again. A file of the result in place whose photos have all stayed as they were is kept as it is; other vectors are
fetched by the workers. The driver holds 70 bytes a known photo and 24 a listed one; they hold 16.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from verger.columns import booleans
from verger.featurize.known import EARLIER, NOWHERE, ROW_BITS, Index, Keys, Known, Places, content_key, place_of
from verger.featurize.network import Network
from verger.ingest import Cut, Listing, task_file, write_task
from verger.publish import MANIFEST
from verger.uri import AnyPath, parquet_files, remove_tree
from verger.workplace import FEATURES, LISTING

_STAT = ["path", "modificationTime", "length"]
_GONE_ROWS_A_TASK = 16_384
_SMALL = 4  # so many times as few rows as a task has: such a table is not kept

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Earlier:
    """What is known: by path, time and size (`by_stat`), and by content.

    Of the result in place alone: its `listing`, how many features each table has (`n_rows`), and where they lie by
    path, time, size and label (`by_row`).
    """

    known: Known
    by_stat: Index
    by_row: Index
    n_rows: Places
    listing: AnyPath

    @property
    def n_published(self) -> int:
        """How many features the result in place has."""
        return int(self.n_rows.sum())


@dataclass(frozen=True)
class Plan:
    """What is to be done: `listing` are all photos, `todo` those whose vectors are not in the tables kept.

    n_gone: photos of the result in place that the source has no more, in the listing or pruned.
    """

    listing: Listing
    todo: Listing
    kept: tuple[str, ...]
    n_gone: int


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


@dataclass
class _Found:
    stats: _Entries = field(default_factory=_Entries)
    rows: _Entries = field(default_factory=_Entries)
    contents: _Entries = field(default_factory=_Entries)


def fingerprint(network: Network, max_pixels: int, decode: str = "exact") -> str:
    """Return what must be the same for a vector to be good still."""
    made_with = f"{network.key} {max_pixels}" + ("" if decode == "exact" else f" {decode}")
    return hashlib.sha256(made_with.encode()).hexdigest()[:32]


def find_earlier(out: AnyPath, journal: AnyPath, fingerprint: str) -> Earlier:
    """Read what the result at `out` and the journal know of vectors with this fingerprint."""
    published = parquet_files(out / FEATURES) if _is_alike(out, fingerprint) else []
    left = [file for run in _runs(journal / fingerprint) for file in parquet_files(run)]
    found = _Found()
    n_rows = _read_published(published, out / LISTING, found)
    _read_left(left, len(published), found)
    tables = tuple(str(file) for file in (*published, *left))
    known = Known(tables, len(published), found.contents.index())
    return Earlier(known, found.stats.index(), found.rows.index(), n_rows, out / LISTING)


def _runs(folder: AnyPath) -> list[AnyPath]:
    return sorted(folder.iterdir(), key=str) if folder.is_dir() else []


def _is_alike(out: AnyPath, fingerprint: str) -> bool:
    if not (out / MANIFEST).is_file() or not (out / FEATURES).is_dir():
        return False
    network: dict[str, Any] = json.loads((out / MANIFEST).read_text()).get("network") or {}
    return network.get("fingerprint") == fingerprint


def _read_published(tables: list[AnyPath], listing: AnyPath, found: _Found) -> Places:
    """Add the features in place; their photos' times are in the listing. Return the rows of each table."""
    n_rows = np.zeros(len(tables), np.int64)
    by_path, by_row = _Entries(), _Entries()
    for _, rows in _batches(parquet_files(listing) if tables else [], [*_STAT, "label"]):
        paths, stats = _keys(rows["path"].to_pylist()), _stat_keys(rows)
        by_path.add(paths, stats.view(np.int64))
        by_row.add(paths, _row_keys(stats, rows["label"]).view(np.int64))
    stat_of, row_of = by_path.index(), by_row.index()
    for places, rows in _batches(tables, ["path", "sha256"]):
        paths = _keys(rows["path"].to_pylist())
        stat, row = stat_of.find(paths), row_of.find(paths)
        is_listed = stat != NOWHERE
        found.stats.add(stat[is_listed].view(np.uint64), places[is_listed])
        found.rows.add(row[is_listed].view(np.uint64), places[is_listed])
        found.contents.add(_content_keys(rows), places)
        n_rows += np.bincount(places >> ROW_BITS, minlength=len(tables))
    return n_rows


def _read_left(tables: list[AnyPath], n_before: int, found: _Found) -> None:
    """Add what is in the journal, less the rejected; `n_before` tables are counted before these."""
    for places, rows in _batches(tables, [*_STAT, "sha256"]):
        kept = rows.filter(rows["sha256"].is_valid())
        at = places[rows["sha256"].is_valid().to_numpy(zero_copy_only=False)] + place_of(n_before, 0)
        found.stats.add(_stat_keys(kept), at)
        found.contents.add(_content_keys(kept), at)


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


def _row_keys(stat_keys: Keys, labels: pa.Array | pa.ChunkedArray) -> Keys:
    told = labels.to_pylist()
    key_of = {label: _keys([repr(label)])[0] for label in set(told)}
    return stat_keys ^ np.array([key_of[label] for label in told], np.uint64)


def _content_keys(rows: pa.RecordBatch) -> Keys:
    return np.array([content_key(sha256) for sha256 in rows["sha256"].to_pylist()], np.uint64)


def make_plan(listing: Listing, earlier: Earlier, folder: AnyPath, *, prune: bool, n_cores: int) -> Plan:
    """Match a listing with what is known, and write into `folder` what is to be done, as a listing with places.

    Without `prune` photos of the result in place that are gone are added to the listing.
    """
    remove_tree(folder)
    folder.mkdir(parents=True)
    matches = [_Match.of(rows, earlier) for rows in _tasks(listing)]
    gone = _gone(earlier, np.concatenate([match.paths for match in matches]))
    for rows in _cut([gone], _GONE_ROWS_A_TASK) if not prune else ():
        write_task(rows, task_file(listing.folder, listing.n_tasks))
        listing = replace(listing, n_photos=listing.n_photos + rows.num_rows, n_tasks=listing.n_tasks + 1)
        matches.append(_Match.of(rows, earlier))
    is_kept = _kept(listing, matches, earlier)
    n_todo = listing.n_photos - int(earlier.n_rows[is_kept].sum())
    n_bytes = listing.n_bytes * n_todo // listing.n_photos  # about
    todo = replace(listing, folder=folder, n_photos=n_todo, n_bytes=n_bytes)
    # Where nothing is kept the tasks stay as they are: a result does not depend on what was known.
    rows_a_task = _rows_a_task(todo, n_cores) if is_kept.any() else None
    n_tasks = 0
    marked = (_todo(rows, match, is_kept) for rows, match in zip(_tasks(listing), matches, strict=True))
    for rows in _cut(marked, rows_a_task):
        write_task(rows, task_file(folder, n_tasks))
        n_tasks += 1
    kept = tuple(earlier.known.tables[number] for number in np.flatnonzero(is_kept))
    return Plan(listing, replace(todo, n_tasks=n_tasks), kept, gone.num_rows)


def _tasks(listing: Listing) -> Iterator[pa.Table]:
    for file in parquet_files(listing.folder):
        with file.open("rb") as opened:
            yield pq.read_table(opened)


@dataclass(frozen=True)
class _Match:
    """The rows of a task: the keys of their paths, and their places by path, time and size, and by label too."""

    paths: Keys
    by_stat: Places
    by_row: Places

    @classmethod
    def of(cls, rows: pa.Table, earlier: Earlier) -> _Match:
        stats = _stat_keys(rows)
        by_row = earlier.by_row.find(_row_keys(stats, rows["label"]))
        return cls(_keys(rows["path"].to_pylist()), earlier.by_stat.find(stats), by_row)


def _kept(listing: Listing, matches: list[_Match], earlier: Earlier) -> Bools:
    """Tell which tables of the result in place stay: all rows are listed as they were, and these are not few.

    Small ones, of earlier increments, are put together with what is new, so that they do not pile up.
    """
    n_found = np.zeros(len(earlier.n_rows), np.int64)
    for match in matches:
        n_found += np.bincount(match.by_row[match.by_row != NOWHERE] >> ROW_BITS, minlength=len(n_found))
    is_small = earlier.n_rows * _SMALL < listing.n_photos / listing.n_tasks
    is_kept: Bools = (n_found == earlier.n_rows) & ~is_small
    return is_kept


def _rows_a_task(todo: Listing, n_cores: int) -> int:
    """Return how many photos a task has where they are cut anew, by the rule of the listing."""
    n_tasks = Cut().n_tasks(todo.n_photos, todo.n_bytes, n_cores)
    return max(1, -(-todo.n_photos // n_tasks))


def _todo(rows: pa.Table, match: _Match, is_kept: Bools) -> pa.Table:
    """Leave out the rows of tables that are kept, and say of the others where their vectors are known to lie."""
    is_new = match.by_row == NOWHERE
    is_todo = is_new | ~np.append(is_kept, False)[np.where(is_new, -1, match.by_row >> ROW_BITS)]
    marked = rows.append_column(EARLIER, pa.array(match.by_stat, mask=match.by_stat == NOWHERE))
    return marked.filter(booleans(is_todo.tolist()))


def _cut(tables: Iterable[pa.Table], rows_each: int | None) -> Iterator[pa.Table]:
    """Yield the tables, or their rows so many at a time."""
    if rows_each is None:
        yield from tables
        return
    held, n_held = list[pa.Table](), 0
    for rows in tables:
        held.append(rows)
        n_held += rows.num_rows
        while n_held >= rows_each:
            joined = pa.concat_tables(held)
            yield joined.slice(0, rows_each)
            held, n_held = [joined.slice(rows_each)], n_held - rows_each
    if n_held:
        yield pa.concat_tables(held)


def _gone(earlier: Earlier, listed: Keys) -> pa.Table:
    """Return the photos of the result in place whose paths are not listed any more."""
    found = []
    for _, rows in _batches(parquet_files(earlier.listing) if len(earlier.n_rows) else [], [*_STAT, "label"]):
        is_gone = ~np.isin(_keys(rows["path"].to_pylist()), listed)
        has_features = earlier.by_row.find(_row_keys(_stat_keys(rows), rows["label"])) != NOWHERE
        found.append(pa.Table.from_batches([rows]).filter(booleans((is_gone & has_features).tolist())))
    return pa.concat_tables(found) if found else pa.table({})
