"""Packed photos: millions of small files as Parquet shards of some 256 MB, bytes and all.

An object store charges for every request and takes its time over each; a shard is one. Row groups are as large as a
task of the chain, and packed photos are listed with their places in the shards: their bytes are read by the tasks.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.sources.labels import labeller
from verger.sources.partitions import (
    BYTES_PER_WEIGHT,
    MAX_TASKS,
    TASK_WEIGHT,
    Cut,
    Listing,
    Selection,
    is_sampled,
    listing_batch,
    task_file,
    write_task,
)
from verger.storage.arrow import longs, strings
from verger.storage.commit import MANIFEST
from verger.storage.schemas import PACKED_LISTING
from verger.storage.uri import AnyPath, any_path, parquet_files, to_local

SHARD_BYTES = 256_000_000
SHARDS = Cut(per_photo=1, bytes_per_weight=1, task_weight=SHARD_BYTES, tasks_per_core=0)
IMAGES = "images"

_ROW_GROUP_BYTES = (1 << 20, 64 << 20)
_LISTED = ["path", "modificationTime", "length", "label"]


@dataclass(frozen=True)
class Packed:
    """A result of `verger pack`: its shards, photos, bytes in all and in the largest photo."""

    folder: AnyPath
    n_photos: int
    n_bytes: int
    max_bytes: int


def row_group_bytes(n_photos: int, n_bytes: int) -> int:
    """Return the bytes of so many photos of the mean size as make a task of the chain."""
    mean = n_bytes / max(n_photos, 1)
    least, most = _ROW_GROUP_BYTES
    return int(min(max(mean * TASK_WEIGHT / (1 + mean / BYTES_PER_WEIGHT), least), most))


def find_packed(src: str) -> Packed | None:
    """Return what `src` holds where it is a result of `verger pack`, else None."""
    place = any_path(src)
    if not (place / MANIFEST).is_file():
        return None
    try:
        manifest = json.loads((place / MANIFEST).read_text())
    except ValueError:  # another program's manifest among the photos
        return None
    if not isinstance(manifest, dict) or manifest.get("command") != "pack":
        return None
    counts = manifest["counts"]
    return Packed(place / IMAGES, counts["listed"], counts["bytes"], counts["max_bytes"])


def write_packed_listing(packed: Packed, selection: Selection, folder: AnyPath) -> Listing:
    """Write the listing of packed photos, selected and labelled as loose ones are; return it.

    A task has whole row groups: one, unless there would be too many tasks. Raises SourceError where no photo is
    left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    least_bytes = packed.n_bytes // MAX_TASKS
    n_photos = n_bytes = max_bytes = n_tasks = 0
    groups = _selected_groups(packed, selection)
    while task := list(_until(groups, least_bytes)):
        rows = pa.Table.from_batches(task)
        lengths = rows["length"].to_pylist()
        write_task(rows, task_file(folder, n_tasks))
        n_photos, n_bytes, n_tasks = n_photos + rows.num_rows, n_bytes + sum(lengths), n_tasks + 1
        max_bytes = max(max_bytes, *lengths)
    if n_photos == 0:
        raise SourceError(f"no photos in {packed.folder} that match {', '.join(selection.glob)}")
    return Listing(folder, n_photos, n_bytes, max_bytes, n_tasks)


def _until(groups: Iterator[pa.RecordBatch], least_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield groups until their photos have enough bytes for a task."""
    n_bytes = 0
    for group in groups:
        yield group
        n_bytes += sum(group["length"].to_pylist())
        if n_bytes >= least_bytes:
            return


def _selected_groups(packed: Packed, selection: Selection) -> Iterator[pa.RecordBatch]:
    """Yield the chosen rows of each row group, where there are any, as schema.PACKED_LISTING."""
    is_chosen = _chooser(selection)
    label = None if selection.label == "parent" else labeller(selection.label, str(packed.folder))
    n_left = selection.limit if selection.limit is not None else packed.n_photos
    for shard, first, group in _groups(packed.folder):
        paths = group["path"].to_pylist()
        rows = list(itertools.islice((row for row, path in enumerate(paths) if is_chosen(path)), n_left))
        n_left -= len(rows)
        if rows:
            yield _listed(group, rows, shard, first, label)


def _groups(folder: AnyPath) -> Iterator[tuple[AnyPath, int, pa.Table]]:
    """Yield shard, number of the first row, and the listed columns of every row group."""
    for shard in parquet_files(folder):
        with shard.open("rb") as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
            first = 0
            for number in range(file.num_row_groups):
                group = file.read_row_group(number, columns=_LISTED)
                yield shard, first, group
                first += group.num_rows


def _listed(
    group: pa.Table, rows: list[int], shard: AnyPath, first: int, label: Callable[[str], str | None] | None
) -> pa.RecordBatch:
    times = group["modificationTime"].cast(pa.int64()).to_pylist()
    paths, lengths, labels = (group[name].to_pylist() for name in ("path", "length", "label"))
    chosen = [paths[row] for row in rows]
    named = [labels[row] for row in rows] if label is None else [label(to_local(path)) for path in chosen]
    batch = listing_batch(chosen, [times[row] for row in rows], [lengths[row] for row in rows], named)
    places = [strings([str(shard)] * len(rows)), longs([first + row for row in rows])]
    return pa.RecordBatch.from_arrays([*batch.columns, *places], schema=PACKED_LISTING)


def _chooser(selection: Selection) -> Callable[[str], bool]:
    names = re.compile("|".join(fnmatch.translate(pattern) for pattern in selection.glob), re.IGNORECASE)

    def is_chosen(path: str) -> bool:
        is_photo = names.match(path.rpartition("/")[2]) is not None
        return is_photo and is_sampled(to_local(path), selection.sample)

    return is_chosen
