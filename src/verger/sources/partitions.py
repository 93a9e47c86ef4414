"""The `listing` table: find the photos of a source and split them into partitions, one Parquet file each.

A partition is the input of one task. The driver holds only the names in one folder and in its parent folders (110
bytes a file: 1 GB for a flat folder of 10 million photos). The workers read the photos' contents.

A photo weighs 1 (inference) + bytes / 250,000 (decoding). A partition weighs at most 768, a few seconds of work for
MobileNetV2, and there are at least four partitions per slot (a slot runs one task at a time). There are at most
20,000 partitions, because each of them is one file of every table; with millions of photos the partitions become
larger instead.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.kernel.decode import max_file_bytes
from verger.photo_names import PHOTO_GLOBS
from verger.sources.labels import Labeller
from verger.sources.walk import Entry, Skipped, walk_source
from verger.storage.arrow import longs, strings
from verger.storage.hashing import hash_to_integer
from verger.storage.schemas import LISTING
from verger.storage.uri import AnyPath, to_local

BYTES_PER_WEIGHT = 250_000
MAX_WEIGHT = 768
PARTITIONS_PER_SLOT = 4
MAX_PARTITIONS = 20_000

# Larger files are rejected without being read, so they have the weight of a file of this size.
_MAX_BYTES = max_file_bytes()

_ROWS_A_BATCH = 16_384


@dataclass(frozen=True)
class PartitionRule:
    """The rule for the number of partitions.

    A photo weighs photo_weight + bytes / bytes_per_weight. A partition weighs at most max_weight.
    min_per_slot: the minimum number of partitions per slot; 0 ignores the number of slots.
    """

    photo_weight: float = 1
    bytes_per_weight: float = BYTES_PER_WEIGHT
    max_weight: float = MAX_WEIGHT
    min_per_slot: int = PARTITIONS_PER_SLOT
    max_partitions: int = MAX_PARTITIONS

    def weight(self, n_photos: int, n_bytes: int) -> float:
        """Return the total weight of `n_photos` photos with `n_bytes` in total."""
        return self.photo_weight * n_photos + n_bytes / self.bytes_per_weight

    def n_partitions(self, n_photos: int, n_bytes: int, n_slots: int) -> int:
        """Return the number of partitions for `n_photos` photos with `n_bytes` in total; may exceed `n_photos`."""
        by_weight = math.ceil(self.weight(n_photos, n_bytes) / self.max_weight)
        n_partitions = min(max(by_weight, 1), self.max_partitions)
        if not self.min_per_slot:
            return n_partitions
        # A multiple of the number of slots, so that no slot is idle in the last round.
        return math.ceil(max(n_partitions, self.min_per_slot * n_slots) / n_slots) * n_slots


@dataclass(frozen=True)
class Selection:
    """Which photos of a source to list, and how to label them (see Settings)."""

    glob: tuple[str, ...] = PHOTO_GLOBS
    label: str = "parent"
    limit: int | None = None
    sample: float | None = None

    @property
    def takes_all(self) -> bool:
        """Whether all photos that match the patterns are selected."""
        return self.limit is None and self.sample is None


@dataclass(frozen=True)
class Partition:
    """The photos of one task.

    number: the number of the partition. file: the Parquet file in the listing's folder that holds the rows of this
    partition.
    """

    number: int
    file: str


@dataclass(frozen=True)
class Listing:
    """A written listing: `folder` holds one Parquet file per partition.

    n_bytes: total size of the photos. max_bytes: size of the largest photo. In both, a file above the size limit
    counts with the size limit. skipped: numbers of files that are not photos, by suffix. warnings: problems with
    the labels, as text for the user.
    """

    folder: AnyPath
    n_photos: int
    n_bytes: int
    max_bytes: int
    n_partitions: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    unlisted: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def partitions(self) -> list[Partition]:
        """Return the partitions, in order."""
        return [Partition(n, str(partition_file(self.folder, n))) for n in range(self.n_partitions)]


def list_photo_files(
    src: str, selection: Selection, folder: AnyPath, n_slots: int = 1, rule: PartitionRule | None = None
) -> Listing:
    """Write the listing of the photo files in `src` to `folder`, one file per partition; raises SourceError."""
    rule = rule or PartitionRule()
    skipped, labeller = Skipped(), Labeller(selection.label, src)
    entries = _selected(walk_source(src, selection.glob, skipped), selection)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verger-") as scratch:
        spool = Path(scratch) / "spool"
        n_photos, n_bytes, max_bytes = _spool(entries, labeller, spool)
        if n_photos == 0:
            raise SourceError(f"no photos in {src} that match {', '.join(selection.glob)}{skipped}")
        n_partitions = rule.n_partitions(n_photos, n_bytes, n_slots)
        weight_each = rule.weight(n_photos, n_bytes) / n_partitions
        n_partitions = _split_rows(_labelled(spool, labeller), folder, weight_each, rule)
    warnings = labeller.warnings(has_all_photos=selection.takes_all)
    return Listing(folder, n_photos, n_bytes, max_bytes, n_partitions, skipped.counts(), skipped.unlisted, warnings)


def _selected(entries: Iterator[Entry], selection: Selection) -> Iterator[Entry]:
    entries = (entry for entry in entries if is_sampled(entry.path, selection.sample))
    return itertools.islice(entries, selection.limit)


def is_sampled(path: str, share: float | None) -> bool:
    """Return whether a photo belongs to a sample of this share; depends only on its path, so all runs agree."""
    return share is None or hash_to_integer(path) < int(share * 2**64)


def _spool(entries: Iterator[Entry], labeller: Labeller, spool: Path) -> tuple[int, int, int]:
    """Write the listing's rows without labels to one temporary file; return n_photos, n_bytes and max_bytes."""
    n_photos = n_bytes = max_bytes = 0
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, LISTING) as writer:
        while chunk := list(itertools.islice(entries, _ROWS_A_BATCH)):
            for entry in chunk if labeller.needs_all_paths else ():
                labeller.record(entry.path)
            rows = [(entry.uri, entry.modified_us, entry.length, None) for entry in chunk]
            writer.write_batch(listing_batch(*zip(*rows, strict=True)))
            n_photos += len(rows)
            lengths = [min(row[2], _MAX_BYTES) for row in rows]
            n_bytes += sum(lengths)
            max_bytes = max(max_bytes, *lengths)
    return n_photos, n_bytes, max_bytes


def _labelled(spool: Path, labeller: Labeller) -> Iterator[pa.RecordBatch]:
    """Yield the spooled rows with their labels."""
    with pa.memory_map(str(spool)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            labels = strings([labeller.label(to_local(uri)) for uri in batch["path"].to_pylist()])
            yield batch.set_column(LISTING.get_field_index("label"), LISTING.field("label"), labels)


def listing_batch(
    paths: Sequence[str], times_us: Sequence[int], lengths: Sequence[int], labels: Sequence[str | None]
) -> pa.RecordBatch:
    """Return rows of schemas.LISTING; times in microseconds since 1970."""
    times = longs(times_us, LISTING.field("modificationTime").type)
    return pa.RecordBatch.from_arrays([strings(paths), times, longs(lengths), strings(labels)], schema=LISTING)


def _split_rows(batches: Iterator[pa.RecordBatch], folder: AnyPath, weight_each: float, rule: PartitionRule) -> int:
    """Split the rows into partitions of about `weight_each`; return the number of partitions."""
    n_partitions, weight, held = 0, 0.0, list[pa.RecordBatch]()
    for batch in batches:
        start = 0
        for row, length in enumerate(batch["length"].to_pylist()):
            weight += rule.photo_weight + min(length, _MAX_BYTES) / rule.bytes_per_weight
            if weight >= weight_each * (n_partitions + 1) - 1e-6:
                held.append(batch.slice(start, row + 1 - start))
                write_partition(pa.Table.from_batches(held, LISTING), partition_file(folder, n_partitions))
                n_partitions, start, held = n_partitions + 1, row + 1, []
        if start < batch.num_rows:
            held.append(batch.slice(start))
    if held:
        write_partition(pa.Table.from_batches(held, LISTING), partition_file(folder, n_partitions))
        n_partitions += 1
    return n_partitions


def partition_file(folder: AnyPath, number: int) -> AnyPath:
    """Return the path of a partition's file in a listing's folder."""
    return folder / f"task-{number:06d}.parquet"


def write_partition(rows: pa.Table, file: AnyPath) -> None:
    """Write the rows of a partition."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    file.write_bytes(sink.getvalue().to_pybytes())
