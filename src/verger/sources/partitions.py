"""List the photos and cut them into tasks: a folder -> the `listing` table.

The listing goes to Parquet files, one a task, as it is walked. What the driver holds of it are the names in one
folder, and those on the way there: 110 bytes a file, a GB for a flat folder of 10 million. Contents are read by the
workers themselves.

The rule of the cut: a photo weighs 1 + bytes / 250,000 (inference, then decoding); a task weighs at most
768, which is a few seconds of MobileNetV2, and there are at least four a core. Of millions of photos the tasks grow
instead of their number, which stays at 20,000: each is a file of the listing and one of every table.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.kernel.decode import max_file_bytes
from verger.settings import PHOTO_GLOBS
from verger.sources.labels import Labeller, labeller
from verger.sources.walk import Entry, Skipped, walk_source
from verger.storage.arrow import longs, strings
from verger.storage.schemas import LISTING
from verger.storage.uri import AnyPath

BYTES_PER_WEIGHT = 250_000
TASK_WEIGHT = 768
TASKS_PER_CORE = 4
MAX_TASKS = 20_000

# A file weighs no more than the largest photo: what is larger is not read.
_MAX_BYTES = max_file_bytes()

_ROWS_A_BATCH = 16_384


@dataclass(frozen=True)
class Cut:
    """The rule: a photo weighs per_photo + bytes / bytes_per_weight, a task at most task_weight."""

    per_photo: float = 1
    bytes_per_weight: float = BYTES_PER_WEIGHT
    task_weight: float = TASK_WEIGHT
    tasks_per_core: int = TASKS_PER_CORE
    max_tasks: int = MAX_TASKS

    def weight(self, n_photos: int, n_bytes: int) -> float:
        """Return what photos weigh together."""
        return self.per_photo * n_photos + n_bytes / self.bytes_per_weight

    def n_tasks(self, n_photos: int, n_bytes: int, n_cores: int) -> int:
        """Return into how many tasks photos are cut, if there are as many as that."""
        by_weight = math.ceil(self.weight(n_photos, n_bytes) / self.task_weight)
        n_tasks = min(max(by_weight, 1), self.max_tasks)
        if not self.tasks_per_core:
            return n_tasks
        # Whole rounds: no core idles in the last one.
        return math.ceil(max(n_tasks, self.tasks_per_core * n_cores) / n_cores) * n_cores


@dataclass(frozen=True)
class Selection:
    """Which photos of a source, and how they are labelled (see Settings)."""

    glob: tuple[str, ...] = PHOTO_GLOBS
    label: str = "parent"
    limit: int | None = None
    sample: float | None = None


@dataclass(frozen=True)
class Listing:
    """A written listing: `folder` holds one Parquet file a task.

    n_bytes, max_bytes: of what may be photos; a file that is too large for one counts as the largest photo.
    """

    folder: AnyPath
    n_photos: int
    n_bytes: int
    max_bytes: int
    n_tasks: int


def write_listing(
    src: str, selection: Selection, folder: AnyPath, n_cores: int | None = None, cut: Cut | None = None
) -> Listing:
    """Walk `src` and write its listing into `folder`, one file a task. Raises SourceError."""
    cut = cut or Cut()
    skipped = Skipped()
    entries = _selected(walk_source(src, selection.glob, skipped), selection)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verger-") as scratch:
        spool = Path(scratch) / "spool"
        n_photos, n_bytes, max_bytes = _spool(entries, labeller(selection.label, src), spool)
        if n_photos == 0:
            raise SourceError(f"no photos in {src} that match {', '.join(selection.glob)}{skipped}")
        n_tasks = cut.n_tasks(n_photos, n_bytes, n_cores or os.cpu_count() or 1)
        n_tasks = _cut(spool, folder, cut.weight(n_photos, n_bytes) / n_tasks, cut)
    return Listing(folder, n_photos, n_bytes, max_bytes, n_tasks)


def _selected(entries: Iterator[Entry], selection: Selection) -> Iterator[Entry]:
    entries = (entry for entry in entries if is_sampled(entry.path, selection.sample))
    return itertools.islice(entries, selection.limit)


def is_sampled(path: str, share: float | None) -> bool:
    """Return whether a photo is in a sample of this share: by a hash of its path, the same in every run."""
    return share is None or _hash64(path) < int(share * 2**64)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "big")


def _spool(entries: Iterator[Entry], label: Labeller, spool: Path) -> tuple[int, int, int]:
    n_photos = n_bytes = max_bytes = 0
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, LISTING) as writer:
        while chunk := list(itertools.islice(entries, _ROWS_A_BATCH)):
            rows = [(entry.uri, entry.modified_us, entry.length, label(entry.path)) for entry in chunk]
            writer.write_batch(listing_batch(*zip(*rows, strict=True)))
            n_photos += len(rows)
            lengths = [min(row[2], _MAX_BYTES) for row in rows]
            n_bytes += sum(lengths)
            max_bytes = max(max_bytes, *lengths)
    return n_photos, n_bytes, max_bytes


def listing_batch(
    paths: Sequence[str], times_us: Sequence[int], lengths: Sequence[int], labels: Sequence[str | None]
) -> pa.RecordBatch:
    """Return rows of schema.LISTING; times in microseconds since 1970."""
    times = longs(times_us, LISTING.field("modificationTime").type)
    return pa.RecordBatch.from_arrays([strings(paths), times, longs(lengths), strings(labels)], schema=LISTING)


def _cut(spool: Path, folder: AnyPath, task_weight: float, cut: Cut) -> int:
    """Cut the spooled rows into files of about `task_weight`; return how many."""
    n_tasks, weight, held = 0, 0.0, list[pa.RecordBatch]()
    with pa.memory_map(str(spool)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            start = 0
            for row, length in enumerate(batch["length"].to_pylist()):
                weight += cut.per_photo + min(length, _MAX_BYTES) / cut.bytes_per_weight
                if weight >= task_weight * (n_tasks + 1) - 1e-6:
                    held.append(batch.slice(start, row + 1 - start))
                    write_task(pa.Table.from_batches(held, LISTING), task_file(folder, n_tasks))
                    n_tasks, start, held = n_tasks + 1, row + 1, []
            if start < batch.num_rows:
                held.append(batch.slice(start))
        if held:
            write_task(pa.Table.from_batches(held, LISTING), task_file(folder, n_tasks))
            n_tasks += 1
    return n_tasks


def task_file(folder: AnyPath, number: int) -> AnyPath:
    """Return the file of a task."""
    return folder / f"task-{number:06d}.parquet"


def write_task(rows: pa.Table, file: AnyPath) -> None:
    """Write the rows of a task."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    file.write_bytes(sink.getvalue().to_pybytes())
