"""The plan of a run with `--resume`: which features it keeps, copies and computes.

A table of an earlier run is kept as a whole file if all its photos are listed and unchanged. For all other photos,
the workers copy the features if an earlier run has computed them, and compute the features otherwise. Photos that
an earlier run rejected are decoded again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.pipeline.discover import Photos
from verger.pipeline.earlier_results import LISTING_COLUMNS, EarlierResults, PhotoKeys, read_rows
from verger.sources.labels import nfc
from verger.sources.partitions import Listing, PartitionRule, partition_file, write_partition
from verger.storage.arrow import booleans, longs, strings
from verger.storage.table_files import parquet_files
from verger.storage.uri import AnyPath, read_parquet, remove_tree
from verger.tasks.earlier_features import EARLIER, NO_ROW, ROW_BITS, EarlierFeatures, KeyIndex, Keys, RowIds

_ROWS_PER_GONE_PARTITION = 16_384

# A table is not kept if it has fewer rows than this share of a mean partition. Its rows are joined with the rows of
# other tables, so that small tables do not accumulate.
_MIN_KEPT_SHARE = 1 / 4

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ResumePlan:
    """What a run with `--resume` has to do.

    todo: the photos whose features are not in a kept table. features: tables of earlier runs, for the workers.
    kept: tables of earlier runs that are kept whole; the first `n_kept_current` of them are in the result at OUT.
    counts: numbers of photos: "listed", and "gone" (in the result at OUT, but no longer in the source).
    n_unchanged_partitions: the first partitions of `todo`, up to this number, hold only unchanged photos of the
    result at OUT. keeps_all_current: whether the kept tables and these partitions hold all photos of this result.
    """

    todo: Photos
    features: EarlierFeatures
    kept: tuple[str, ...] = ()
    n_kept_current: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    n_unchanged_partitions: int = 0
    keeps_all_current: bool = False

    @property
    def kept_of_unfinished_runs(self) -> tuple[str, ...]:
        """The kept tables that come from unfinished runs, not from the result at OUT."""
        return self.kept[self.n_kept_current :]


@dataclass(frozen=True)
class _Matches:
    """The photos of a partition: keys of the paths, and row ids of the features found in each of two indexes."""

    paths: Keys
    by_file: RowIds
    by_row: RowIds

    @classmethod
    def of(cls, rows: pa.Table, earlier: EarlierResults) -> _Matches:
        keys = PhotoKeys.of(rows)
        return cls(keys.path, earlier.by_file.find(keys.file), earlier.by_row.find(keys.row))

    def is_todo(self, is_kept: Bools) -> Bools:
        """Return for each photo whether it is missing from the kept tables."""
        is_todo: Bools = self.by_row == NO_ROW
        is_todo[~is_todo] = ~is_kept[self.by_row[~is_todo] >> ROW_BITS]
        return is_todo


@dataclass(frozen=True)
class _Comparison:
    """A listing, the matches of each partition, and for each table of earlier runs whether it is kept."""

    listing: Listing
    matches: list[_Matches]
    earlier: EarlierResults
    is_kept: Bools

    @classmethod
    def of(cls, listing: Listing, matches: list[_Matches], earlier: EarlierResults) -> _Comparison:
        """Decide which tables are kept: those whose rows are all in the listing, except small tables."""
        n_found = np.zeros(len(earlier.n_rows), np.int64)
        for match in matches:
            n_found += np.bincount(match.by_row[match.by_row != NO_ROW] >> ROW_BITS, minlength=len(n_found))
        is_small = earlier.n_rows < _MIN_KEPT_SHARE * listing.n_photos / listing.n_partitions
        return cls(listing, matches, earlier, (n_found == earlier.n_rows) & ~is_small)

    @property
    def n_kept_current(self) -> int:
        """Number of kept tables of the result at OUT."""
        return int(self.is_kept[: self.earlier.n_current_tables].sum())

    def lists_all_current(self) -> bool:
        """Return whether all photos of the result at OUT are listed and unchanged."""
        n_listed = sum(int(self.earlier.is_current(match.by_row).sum()) for match in self.matches)
        return n_listed == self.earlier.n_current

    def write_todo(self, folder: AnyPath, n_slots: int) -> tuple[Listing, int]:
        """Write a listing of the photos that are not in a kept table.

        Return the listing, and the number of partitions at its start that hold only photos of the result at OUT.
        """
        remove_tree(folder)
        folder.mkdir(parents=True)
        todo = replace(self.listing, folder=folder, n_photos=0, n_partitions=0)
        if not self.n_kept_current:  # keep the listed partitions: the result must not depend on reuse
            return _append(todo, self._todo_rows()), 0
        n_photos = self.listing.n_photos - int(self.earlier.n_rows[self.is_kept].sum())
        n_bytes = self.listing.n_bytes * n_photos // self.listing.n_photos  # an estimate
        n_rows = max(1, -(-n_photos // PartitionRule().n_partitions(n_photos, n_bytes, n_slots)))
        unchanged = _append(todo, _regroup(self._todo_rows(is_current=True), n_rows))
        return _append(unchanged, _regroup(self._todo_rows(is_current=False), n_rows)), unchanged.n_partitions

    def _todo_rows(self, *, is_current: bool | None = None) -> Iterator[pa.Table]:
        """Yield the photos to process, partition by partition.

        is_current: True yields only unchanged photos whose rows are in the result at OUT, False only the others.
        """
        for rows, match in zip(_partitions(self.listing), self.matches, strict=True):
            is_todo = match.is_todo(self.is_kept)
            if is_current is not None:
                is_todo &= self.earlier.is_current(match.by_row) == is_current
            row_ids = longs([None if row == NO_ROW else row for row in match.by_file.tolist()])
            yield rows.append_column(EARLIER, row_ids).filter(booleans(is_todo.tolist()))


def plan_resume(
    listing: Listing, earlier: EarlierResults, folder: AnyPath, *, prune: bool, n_slots: int
) -> ResumePlan:
    """Compare a listing with earlier results, and write a listing of the photos to process to `folder`.

    The column EARLIER of the new listing holds the row ids of features to copy. Photos that are no longer in the
    source are added to both listings, so that they stay in the result; with `prune` they are not added.
    """
    matches = [_Matches.of(rows, earlier) for rows in _partitions(listing)]
    listed_paths = np.concatenate([match.paths for match in matches])
    gone = _gone_photos(earlier, KeyIndex.build(listed_paths, np.arange(len(listed_paths))))
    if not prune:
        listing = _append(listing, _regroup([gone], _ROWS_PER_GONE_PARTITION))
        matches += [_Matches.of(rows, earlier) for rows in _partitions(listing, first=len(matches))]
    comparison = _Comparison.of(listing, matches, earlier)
    todo, n_unchanged = comparison.write_todo(folder, n_slots)
    kept = tuple(itertools.compress(earlier.features.tables, comparison.is_kept))
    n_kept_current = comparison.n_kept_current
    keeps_all_current = n_kept_current > 0 and comparison.lists_all_current()
    return ResumePlan(
        todo,
        earlier.features,
        kept,
        n_kept_current,
        {"listed": listing.n_photos, "gone": gone.num_rows},
        n_unchanged,
        keeps_all_current,
    )


def _partitions(listing: Listing, first: int = 0) -> Iterator[pa.Table]:
    return map(read_parquet, parquet_files(listing.folder)[first:])


def _append(listing: Listing, partitions: Iterable[pa.Table]) -> Listing:
    """Write further partitions of a listing; return the extended listing."""
    for rows in partitions:
        write_partition(rows, partition_file(listing.folder, listing.n_partitions))
        n_photos, n_partitions = listing.n_photos + rows.num_rows, listing.n_partitions + 1
        listing = replace(listing, n_photos=n_photos, n_partitions=n_partitions)
    return listing


def _regroup(tables: Iterable[pa.Table], n_rows_each: int) -> Iterator[pa.Table]:
    """Yield the rows of the tables in new tables of `n_rows_each` rows; only the last table may have fewer."""
    held, n_held = list[pa.Table](), 0
    for rows in tables:
        held.append(rows)
        n_held += rows.num_rows
        while n_held >= n_rows_each:
            joined = _join(held)
            yield joined.slice(0, n_rows_each)
            held, n_held = [joined.slice(n_rows_each)], n_held - n_rows_each
    if n_held:
        yield _join(held)


def _join(tables: list[pa.Table]) -> pa.Table:
    """Join rows of listings. Photos that are gone get null in columns that only listings of packed photos have."""
    return pa.concat_tables(tables, promote_options="default")


def _gone_photos(earlier: EarlierResults, listed_paths: KeyIndex) -> pa.Table:
    """Return the photos that have features in the result at OUT but whose paths are no longer listed.

    Their labels are in the form NFC, as those of the listing; results of earlier versions may hold other forms.
    """
    gone = []
    for _, rows in read_rows(parquet_files(earlier.listing) if earlier.n_current else [], LISTING_COLUMNS):
        keys = PhotoKeys.of(rows)
        is_gone = (listed_paths.find(keys.path) == NO_ROW) & earlier.is_current(earlier.by_row.find(keys.row))
        gone.append(_with_normal_labels(pa.Table.from_batches([rows]).filter(booleans(is_gone.tolist()))))
    return pa.concat_tables(gone) if gone else pa.table({})


def _with_normal_labels(rows: pa.Table) -> pa.Table:
    labels = [None if label is None else nfc(label) for label in rows["label"].to_pylist()]
    position = rows.schema.get_field_index("label")
    return rows.set_column(position, rows.schema.field(position), strings(labels))
