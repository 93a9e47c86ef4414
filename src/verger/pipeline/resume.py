"""What earlier runs have done already, matched with the photos of this one.

A photo is known by its path, time and size, else by its content (sha256) once it has been read. Known are the
features of the result in place, and of runs that did not end well; what was rejected is tried again. A file whose
photos have all stayed as they were is kept whole; other vectors are read by the workers. The driver holds 70 bytes
for each known photo and 24 for each listed one; the workers hold 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import ResultError
from verger.kernel.networks.network import Network
from verger.pipeline.context import FEATURES, LISTING
from verger.sources.partitions import Listing, PartitionRule, partition_file, write_partition
from verger.storage.arrow import booleans, longs
from verger.storage.hashing import hash_text
from verger.storage.manifest import Manifest, find_manifest
from verger.storage.uri import AnyPath, parquet_files, read_parquet, remove_tree
from verger.tasks.earlier_features import (
    EARLIER,
    NO_ROW,
    ROW_BITS,
    EarlierFeatures,
    KeyIndex,
    Keys,
    RowIds,
    content_key,
    row_id,
)

_STAT = ["path", "modificationTime", "length"]
_GONE_ROWS_A_TASK = 16_384
_SMALL = 4  # so many times as few rows as a task has: such a table is not kept

# Settings that the features depend on, besides those of the network, and versions that convert it.
_SETTINGS = ("max_megapixels", "decode", "device")
_VERSIONS = ("keras", "openvino")

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Earlier:
    """Known features: by path, time and size (`by_stat`), by these and the label (`by_row`), and by content.

    tables: the files that hold them, the first `n_published_tables` of the result in place; n_rows: rows of each.
    listing: that of the result in place.
    """

    known: EarlierFeatures
    by_stat: KeyIndex
    by_row: KeyIndex
    n_rows: RowIds
    n_published_tables: int
    listing: AnyPath

    @property
    def n_published(self) -> int:
        """How many features the result in place has."""
        return int(self.n_rows[: self.n_published_tables].sum())


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    listing: all photos.
    todo: those whose features are in no table that is kept.
    kept: tables of earlier runs that stay whole, the first `n_kept_published` of them of the result in place.
    n_gone: photos of the result in place that the source has no more, in the listing or pruned.
    n_unchanged_tasks: the first tasks of `todo`, of photos that the result in place has as they are.
    keeps_all_published: the kept tables and these tasks hold all that the result in place has.
    """

    listing: Any
    todo: Any
    known: EarlierFeatures
    kept: tuple[str, ...] = ()
    n_kept_published: int = 0
    n_gone: int = 0
    n_unchanged_tasks: int = 0
    keeps_all_published: bool = False

    @classmethod
    def of_content(cls, photos: Any, earlier: Earlier) -> Plan:
        """Return the plan for photos without a listing: all are read, and known by their content alone."""
        return cls(photos, photos, earlier.known)

    @property
    def adopted(self) -> tuple[str, ...]:
        """The tables that runs left which did not end well."""
        return self.kept[self.n_kept_published :]


@dataclass
class _Entries:
    """What an index is built from, batch by batch."""

    keys: list[Keys] = field(default_factory=lambda: [np.empty(0, np.uint64)])
    places: list[RowIds] = field(default_factory=lambda: [np.empty(0, np.int64)])

    def add(self, keys: Keys, places: RowIds) -> None:
        self.keys.append(keys)
        self.places.append(places)

    def index(self) -> KeyIndex:
        return KeyIndex.build(np.concatenate(self.keys), np.concatenate(self.places))


@dataclass
class _Found:
    stats: _Entries = field(default_factory=_Entries)
    rows: _Entries = field(default_factory=_Entries)
    contents: _Entries = field(default_factory=_Entries)

    def places(self) -> RowIds:
        """Return the places of all rows."""
        return np.concatenate(self.contents.places)


def fingerprint(network: Network, max_pixels: int, decode: str = "exact") -> str:
    """Return what must be the same for a vector to be good still."""
    made_with = f"{network.key} {max_pixels}" + ("" if decode == "exact" else f" {decode}")
    return hashlib.sha256(made_with.encode()).hexdigest()[:32]


def check_reusable(out: AnyPath, manifest: Manifest) -> None:
    """Raise ResultError where the result at `out` has features that a run with this manifest cannot reuse.

    They would be dropped, also those of photos that are gone and cannot be computed again.
    """
    earlier = find_manifest(out)
    n_features = earlier.counts.get("features", 0) if earlier is not None else 0
    if earlier is None or not n_features or _fingerprint_of(earlier) == _fingerprint_of(manifest):
        return
    raise ResultError(
        f"{out} holds {n_features:,} features that were made otherwise ({_differences(earlier, manifest)}), and "
        "--resume can reuse none of them: add --overwrite to compute everything again, or choose another folder"
    )


def _fingerprint_of(manifest: Manifest) -> str | None:
    return manifest.text("network", "fingerprint")


def _differences(earlier: Manifest, now: Manifest) -> str:
    """Return in which settings two manifests differ; where in none, what else makes their features differ."""
    for values_of in (_settings_of, _weights_of, _versions_of):
        before, after = values_of(earlier), values_of(now)
        names = [name for name, value in after.items() if name not in before or before[name] != value]
        if names:
            return ", ".join(f"{name} = {before.get(name, 'unknown')} there, {after[name]} now" for name in names)
    return f"by verger {earlier.verger or 'of an unknown version'}"


def _settings_of(manifest: Manifest) -> dict[str, Any]:
    settings = manifest.settings
    return {
        **manifest.section("network", "spec"),
        **{name: settings[name] for name in _SETTINGS if name in settings},
    }


def _weights_of(manifest: Manifest) -> dict[str, Any]:
    """Return the hash of the weights: a file of the same name may have another content."""
    network = manifest.section("network")
    return {name: network[name] for name in ("weights_sha256",) if name in network}


def _versions_of(manifest: Manifest) -> dict[str, Any]:
    versions = manifest.versions
    return {name: versions[name] for name in _VERSIONS if name in versions}


def find_earlier(out: AnyPath, runs: list[AnyPath], fingerprint: str, mark: str) -> Earlier:
    """Read what the result at `out`, and runs that did not end well, know of features with this fingerprint.

    mark: what the names of such runs' parts hold of the fingerprint.
    """
    published = parquet_files(out / FEATURES) if _has_fingerprint(out, fingerprint) else []
    found = _Found()
    _read_tables(published, out / LISTING, 0, found)
    tables = [*published]
    for run in runs:
        parts = [file for file in parquet_files(run / FEATURES) if mark in file.name]
        _read_tables(parts, run / LISTING, len(tables), found)
        tables += parts
    known = EarlierFeatures(tuple(map(str, tables)), found.contents.index())
    n_rows = np.bincount(found.places() >> ROW_BITS, minlength=len(tables))
    return Earlier(known, found.stats.index(), found.rows.index(), n_rows, len(published), out / LISTING)


def _has_fingerprint(out: AnyPath, fingerprint: str) -> bool:
    manifest = find_manifest(out) if (out / FEATURES).is_dir() else None
    return manifest is not None and _fingerprint_of(manifest) == fingerprint


def _read_tables(tables: list[AnyPath], listing: AnyPath, n_before: int, found: _Found) -> None:
    """Add the features in tables, which are counted from `n_before`; their photos' times are in the listing."""
    by_path, by_row = _Entries(), _Entries()
    for _, rows in _batches(parquet_files(listing) if tables else [], [*_STAT, "label"]):
        paths, stats = _keys(rows["path"].to_pylist()), _stat_keys(rows)
        by_path.add(paths, stats.view(np.int64))
        by_row.add(paths, _row_keys(stats, rows["label"]).view(np.int64))
    stat_of, row_of = by_path.index(), by_row.index()
    for places, rows in _batches(tables, ["path", "sha256"]):
        at = places + row_id(n_before, 0)
        paths = _keys(rows["path"].to_pylist())
        stat, row = stat_of.find(paths), row_of.find(paths)
        is_listed = stat != NO_ROW
        found.stats.add(stat[is_listed].view(np.uint64), at[is_listed])
        found.rows.add(row[is_listed].view(np.uint64), at[is_listed])
        found.contents.add(_content_keys(rows), at)


def _batches(tables: list[AnyPath], columns: list[str]) -> Iterator[tuple[RowIds, pa.RecordBatch]]:
    """Yield the rows of the tables, with their places."""
    for number, table in enumerate(tables):
        row = 0
        with table.open("rb") as opened, pq.ParquetFile(opened) as file:
            for batch in file.iter_batches(columns=columns):
                yield row_id(number, row) + np.arange(batch.num_rows), batch
                row += batch.num_rows


def _keys(texts: Iterable[str]) -> Keys:
    return np.frombuffer(b"".join(map(hash_text, texts)), np.uint64)


def _stat_keys(rows: pa.RecordBatch | pa.Table) -> Keys:
    paths, lengths = rows["path"].to_pylist(), rows["length"].to_pylist()
    times_us = rows["modificationTime"].cast(pa.int64()).to_pylist()
    return _keys(f"{path}\n{us}\n{length}" for path, us, length in zip(paths, times_us, lengths, strict=True))


def _row_keys(stat_keys: Keys, labels: pa.Array | pa.ChunkedArray) -> Keys:
    values = labels.to_pylist()
    key_of = {label: _keys([repr(label)])[0] for label in set(values)}
    return stat_keys ^ np.array([key_of[label] for label in values], np.uint64)


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
        write_partition(rows, partition_file(listing.folder, listing.n_partitions))
        listing = replace(listing, n_photos=listing.n_photos + rows.num_rows, n_partitions=listing.n_partitions + 1)
        matches.append(_Match.of(rows, earlier))
    is_kept = _kept(listing, matches, earlier)
    n_todo = listing.n_photos - int(earlier.n_rows[is_kept].sum())
    n_bytes = listing.n_bytes * n_todo // listing.n_photos  # about
    todo = replace(listing, folder=folder, n_photos=n_todo, n_bytes=n_bytes, n_partitions=0)
    marked = partial(_marked, listing, matches, earlier, is_kept)
    is_increment = bool(is_kept[: earlier.n_published_tables].any())
    n_unchanged = 0
    if is_increment:  # small tables of the result in place are joined, apart from what is new
        rows_a_task = _rows_a_task(todo, n_cores)
        todo = _write_todo(todo, marked(is_unchanged=True), rows_a_task)
        n_unchanged = todo.n_partitions
        todo = _write_todo(todo, marked(is_unchanged=False), rows_a_task)
    else:  # the tasks stay as they are: a result does not depend on what was known
        todo = _write_todo(todo, marked(is_unchanged=None), None)
    kept = np.flatnonzero(is_kept)
    return Plan(
        listing,
        todo,
        earlier.known,
        tuple(earlier.known.tables[number] for number in kept),
        int((kept < earlier.n_published_tables).sum()),
        gone.num_rows,
        n_unchanged,
        is_increment and _n_published_rows(matches, earlier) == earlier.n_published,
    )


def _write_todo(todo: Listing, marked: Iterable[pa.Table], rows_each: int | None) -> Listing:
    """Write rows as further tasks of `todo`; return it with them."""
    n_partitions = todo.n_partitions
    for rows in _cut(marked, rows_each):
        write_partition(rows, partition_file(todo.folder, n_partitions))
        n_partitions += 1
    return replace(todo, n_partitions=n_partitions)


def _n_published_rows(matches: list[_Match], earlier: Earlier) -> int:
    """Return how many listed photos the result in place has as they are."""
    return sum(int(match.is_published(earlier).sum()) for match in matches)


def _marked(
    listing: Listing,
    matches: list[_Match],
    earlier: Earlier,
    is_kept: Bools,
    *,
    is_unchanged: bool | None,
) -> Iterator[pa.Table]:
    """Yield the rows of each task whose features are in no kept table, with the places of those that are known.

    is_unchanged: only the rows that the result in place has as they are, or only the others; None: both.
    """
    for rows, match in zip(_tasks(listing), matches, strict=True):
        is_todo = match.is_todo(is_kept)
        if is_unchanged is not None:
            is_todo &= match.is_published(earlier) == is_unchanged
        places = longs([None if place == NO_ROW else place for place in match.by_stat.tolist()])
        yield rows.append_column(EARLIER, places).filter(booleans(is_todo.tolist()))


def _tasks(listing: Listing) -> Iterator[pa.Table]:
    for file in parquet_files(listing.folder):
        yield read_parquet(file)


@dataclass(frozen=True)
class _Match:
    """The rows of a task: the keys of their paths, and their places by path, time and size, and by label too."""

    paths: Keys
    by_stat: RowIds
    by_row: RowIds

    @classmethod
    def of(cls, rows: pa.Table, earlier: Earlier) -> _Match:
        stats = _stat_keys(rows)
        by_row = earlier.by_row.find(_row_keys(stats, rows["label"]))
        return cls(_keys(rows["path"].to_pylist()), earlier.by_stat.find(stats), by_row)

    def is_todo(self, is_kept: Bools) -> Bools:
        """Return which rows are in no kept table."""
        is_new = self.by_row == NO_ROW
        found: Bools = is_new | ~np.append(is_kept, False)[np.where(is_new, -1, self.by_row >> ROW_BITS)]
        return found

    def is_published(self, earlier: Earlier) -> Bools:
        """Return which rows the result in place has as they are."""
        found: Bools = (self.by_row != NO_ROW) & (self.by_row >> ROW_BITS < earlier.n_published_tables)
        return found


def _kept(listing: Listing, matches: list[_Match], earlier: Earlier) -> Bools:
    """Return which tables stay whole: all rows are listed as they were, and these are not few.

    Small ones, of earlier increments, are put together with what is new, so that they do not pile up.
    """
    n_found = np.zeros(len(earlier.n_rows), np.int64)
    for match in matches:
        n_found += np.bincount(match.by_row[match.by_row != NO_ROW] >> ROW_BITS, minlength=len(n_found))
    is_small = earlier.n_rows * _SMALL < listing.n_photos / listing.n_partitions
    is_kept: Bools = (n_found == earlier.n_rows) & ~is_small
    return is_kept


def _rows_a_task(todo: Listing, n_cores: int) -> int:
    """Return how many photos a task has where they are split again, by the rule of the listing."""
    n_partitions = PartitionRule().n_partitions(todo.n_photos, todo.n_bytes, n_cores)
    return max(1, -(-todo.n_photos // n_partitions))


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
            joined = _joined(held)
            yield joined.slice(0, rows_each)
            held, n_held = [joined.slice(rows_each)], n_held - rows_each
    if n_held:
        yield _joined(held)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Join rows of listings; photos that are gone have no shard, where the others are packed."""
    return pa.concat_tables(tables, promote_options="default")


def _gone(earlier: Earlier, listed: Keys) -> pa.Table:
    """Return the photos of the result in place whose paths are not listed any more."""
    found = []
    for _, rows in _batches(parquet_files(earlier.listing) if earlier.n_published else [], [*_STAT, "label"]):
        is_gone = ~np.isin(_keys(rows["path"].to_pylist()), listed)
        places = earlier.by_row.find(_row_keys(_stat_keys(rows), rows["label"]))
        has_features = (places != NO_ROW) & (places >> ROW_BITS < earlier.n_published_tables)
        found.append(pa.Table.from_batches([rows]).filter(booleans((is_gone & has_features).tolist())))
    return pa.concat_tables(found) if found else pa.table({})
