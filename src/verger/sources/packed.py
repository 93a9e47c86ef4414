"""Packed photos, the result of `verger pack`: Parquet shards of about 256 MB that hold the photos' bytes.

An object store charges for each request and answers slowly, but one request can read many packed photos. A row
group is as large as a partition of `run`. The listing of packed photos names the shard and the row of each photo;
the tasks read the bytes from that row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from verger.errors import SourceError
from verger.photo_names import PHOTO_GLOBS
from verger.sources.labels import Labeller
from verger.sources.partitions import (
    BYTES_PER_WEIGHT,
    MAX_PARTITIONS,
    MAX_WEIGHT,
    Listing,
    PartitionRule,
    Selection,
    is_sampled,
    listing_batch,
    partition_file,
    write_partition,
)
from verger.sources.path_pattern import photo_names
from verger.sources.walk import Skipped
from verger.storage.arrow import longs, strings
from verger.storage.manifest import MANIFEST
from verger.storage.parquet import open_parquet
from verger.storage.schemas import PACKED_LISTING
from verger.storage.table_files import parquet_files
from verger.storage.uri import AnyPath, any_path, escape_path, local_name

SHARD_BYTES = 256_000_000
SHARD_RULE = PartitionRule(photo_weight=1, bytes_per_weight=1, max_weight=SHARD_BYTES, min_per_slot=0)
IMAGES = "images"

_ROW_GROUP_BYTES = (1 << 20, 64 << 20)
_LISTED = ["path", "modificationTime", "length", "label"]


@dataclass(frozen=True)
class PackedPhotos:
    """A result of `verger pack`: its folder of shards, and the number and sizes of the photos."""

    folder: AnyPath
    n_photos: int
    n_bytes: int
    max_bytes: int


def row_group_bytes(n_photos: int, n_bytes: int) -> int:
    """Return the size of a row group in bytes: that of one partition of `run`, if all photos had the mean size."""
    mean = n_bytes / max(n_photos, 1)
    least, most = _ROW_GROUP_BYTES
    return int(min(max(mean * MAX_WEIGHT / (1 + mean / BYTES_PER_WEIGHT), least), most))


def find_packed(src: str) -> PackedPhotos | None:
    """Return the packed photos in `src`; None if `src` is not a result of `verger pack`."""
    path = any_path(src)
    if not (path / MANIFEST).is_file():
        return None
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except ValueError:  # a manifest.json of another program
        return None
    if not isinstance(manifest, dict) or manifest.get("command") != "pack":
        return None
    counts = manifest["counts"]
    return PackedPhotos(path / IMAGES, counts["listed"], counts["bytes"], counts["max_bytes"])


def list_packed_photos(packed: PackedPhotos, selection: Selection, folder: AnyPath) -> Listing:
    """Write the listing of packed photos, selected and labelled by the rules for photo files.

    A partition holds one whole row group, or several if there would otherwise be too many partitions. Raises
    SourceError if no photo matches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    least_bytes = packed.n_bytes // MAX_PARTITIONS
    n_photos = n_bytes = max_bytes = n_partitions = 0
    labeller, skipped = Labeller(selection.label, str(packed.folder)), Skipped()
    groups = _selected_groups(packed, selection, labeller, skipped)
    while taken := list(_take_groups(groups, least_bytes)):
        rows = pa.Table.from_batches(taken)
        lengths = rows["length"].to_pylist()
        write_partition(rows, partition_file(folder, n_partitions))
        n_photos, n_bytes, n_partitions = n_photos + rows.num_rows, n_bytes + sum(lengths), n_partitions + 1
        max_bytes = max(max_bytes, *lengths)
    if n_photos == 0:
        raise SourceError(f"no photos in {packed.folder} that match {', '.join(selection.glob)}")
    warnings = labeller.warnings(has_all_photos=selection.takes_all)
    return Listing(folder, n_photos, n_bytes, max_bytes, n_partitions, skipped=skipped.counts(), warnings=warnings)


def _take_groups(groups: Iterator[pa.RecordBatch], least_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield the next groups, until their photos together have at least `least_bytes`."""
    n_bytes = 0
    for group in groups:
        yield group
        n_bytes += sum(group["length"].to_pylist())
        if n_bytes >= least_bytes:
            return


def _selected_groups(
    packed: PackedPhotos, selection: Selection, labeller: Labeller, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Yield the selected rows of each row group as schemas.PACKED_LISTING, without empty groups."""
    if labeller.needs_all_paths:
        for _, _, group, rows in _selected_rows(packed, selection, Skipped()):
            for row in rows:
                labeller.record(local_name(group["path"][row].as_py()))
    for shard, first, group, rows in _selected_rows(packed, selection, skipped):
        yield _listing_rows(
            group, rows, shard, first, partial(_label, labeller, has_own=selection.label == "parent")
        )


def _selected_rows(
    packed: PackedPhotos, selection: Selection, skipped: Skipped
) -> Iterator[tuple[AnyPath, int, pa.Table, list[int]]]:
    """Yield the tuples of `_groups` for row groups with selected photos, extended by the selected rows' numbers.

    A run without --glob takes all rows, because `pack` has selected them. skipped: where other rows are counted.
    """
    takes_any_name = selection.glob == PHOTO_GLOBS
    is_photo = photo_names(selection.glob).match
    n_left = selection.limit if selection.limit is not None else packed.n_photos
    for shard, first, group in _groups(packed.folder):
        rows: list[int] = []
        for row, path in enumerate(group["path"].to_pylist()):
            if not (takes_any_name or is_photo(path.rpartition("/")[2])):
                skipped.add(path)
            elif len(rows) < n_left and is_sampled(local_name(path), selection.sample):
                rows.append(row)
        n_left -= len(rows)
        if rows:
            yield shard, first, group, rows


def _label(labeller: Labeller, path: str, packed_label: str | None, *, has_own: bool) -> str | None:
    """Return the label of a photo. With the rule `parent` it is the label that was packed with the photo."""
    path = local_name(path)
    return labeller.add(path, packed_label) if has_own else labeller.label(path)


def _groups(folder: AnyPath) -> Iterator[tuple[AnyPath, int, pa.Table]]:
    """Yield (shard, number of the group's first row in the shard, columns for the listing) for each row group."""
    for shard in parquet_files(folder):
        with open_parquet(shard, pre_buffer=False) as file:
            first = 0
            for number in range(file.num_row_groups):
                group = file.read_row_group(number, columns=_LISTED)
                yield shard, first, group
                first += group.num_rows


def _listing_rows(
    group: pa.Table, rows: list[int], shard: AnyPath, first: int, label: Callable[[str, str | None], str | None]
) -> pa.RecordBatch:
    times = group["modificationTime"].cast(pa.int64()).to_pylist()
    paths, lengths, labels = (group[name].to_pylist() for name in ("path", "length", "label"))
    named = [label(paths[row], labels[row]) for row in rows]
    paths, times, lengths = ([column[row] for row in rows] for column in (paths, times, lengths))
    batch = listing_batch(paths, times, lengths, named)
    locations = [strings([escape_path(str(shard))] * len(rows)), longs([first + row for row in rows])]
    return pa.RecordBatch.from_arrays([*batch.columns, *locations], schema=PACKED_LISTING)
