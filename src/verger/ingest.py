"""List the photos and cut them into tasks: a folder -> the `images` table.

The listing goes to Parquet files, one a task, as it is walked: neither the driver's memory nor Spark's
start-up grows with the number of photos. Contents are read by the workers themselves, not by the JVM.

The rule of the cut: a photo weighs 1 + bytes / 250,000 (inference, then decoding); a task weighs at most
768, which is a few seconds of MobileNetV2, and there are at least four a core.
"""

from __future__ import annotations

import atexit
import csv
import fnmatch
import glob
import hashlib
import itertools
import math
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from verger import schema
from verger.columns import binaries
from verger.errors import SourceError
from verger.settings import PHOTO_GLOBS
from verger.uri import is_local, to_local, to_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BYTES_PER_WEIGHT = 250_000
TASK_WEIGHT = 768
TASKS_PER_CORE = 4

_ROWS_A_BATCH = 16_384
_ARROW = pa.schema(
    [
        ("path", pa.string()),
        ("modificationTime", pa.timestamp("us", tz="UTC")),
        ("length", pa.int64()),
        ("label", pa.string()),
    ]
)

Labeller = Callable[[str], str | None]


@dataclass(frozen=True)
class Selection:
    """Which photos of a source, and how they are labelled (see Settings)."""

    glob: tuple[str, ...] = PHOTO_GLOBS
    label: str = "parent"
    limit: int | None = None
    sample: float | None = None


@dataclass(frozen=True)
class Listing:
    """A written listing: `folder` holds one Parquet file a task."""

    folder: Path
    n_photos: int
    n_bytes: int
    n_tasks: int


@dataclass
class _Skipped:
    suffixes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        seen = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in self.suffixes.most_common(5))
        return f"; other files there: {seen}" if seen else "; there are no files at all"


def read_images(spark: SparkSession, src: str, selection: Selection | None = None) -> DataFrame:
    """Return the photos of `src` as (path, modificationTime, length, label), cut into tasks.

    `ImageFeaturizer` reads the contents by path; `with_content` adds them as Spark's `binaryFile` would.
    Raises SourceError where there are no photos.
    """
    folder = Path(tempfile.mkdtemp(prefix="verger-listing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    n_cores = spark.sparkContext.defaultParallelism
    listing = write_listing(src, selection or Selection(), folder, n_cores)
    return images(spark, listing)


def images(spark: SparkSession, listing: Listing) -> DataFrame:
    """Return a listing as a DataFrame with one partition a task."""
    # A file's opening "costs" as much as a partition may hold, so that none shares one.
    spark.conf.set("spark.sql.files.openCostInBytes", spark.conf.get("spark.sql.files.maxPartitionBytes") or "")
    return spark.read.schema(schema.LISTING).parquet(str(listing.folder))


def with_content(images: DataFrame) -> DataFrame:
    """Return images with their bytes: Spark's `binaryFile` columns, plus label."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in range(batch.num_rows):
                one = batch.slice(row, 1)
                with open(to_local(one["path"][0].as_py()), "rb") as file:
                    content = binaries([file.read()])
                path, modified, length, label = one.columns
                yield pa.RecordBatch.from_arrays(
                    [path, modified, length, content, label], schema.columns(schema.IMAGES)
                )

    return images.mapInArrow(read, schema.IMAGES)


def write_listing(src: str, selection: Selection, folder: Path, n_cores: int | None = None) -> Listing:
    """Walk `src` and write its listing into `folder`, one file a task. Raises SourceError."""
    skipped = _Skipped()
    rows = _selected(_walk_source(src, selection.glob, skipped), selection)
    folder.mkdir(parents=True, exist_ok=True)
    spool = folder.parent / f".{folder.name}.spool"
    try:
        n_photos, n_bytes = _spool(rows, _labeller(selection.label, src), spool)
        if n_photos == 0:
            raise SourceError(f"no photos in {src} that match {', '.join(selection.glob)}{skipped}")
        n_tasks = _cut(spool, folder, _task_weight(n_photos, n_bytes, n_cores or os.cpu_count() or 1))
    finally:
        spool.unlink(missing_ok=True)
    return Listing(folder, n_photos, n_bytes, n_tasks)


def _walk_source(src: str, patterns: tuple[str, ...], skipped: _Skipped) -> Iterator[os.DirEntry[str]]:
    if not is_local(src):
        raise SourceError(f"{src}: only local folders and file: URIs can be read so far")
    local = os.path.abspath(os.path.expanduser(to_local(src)))
    roots = (
        [Path(local)]
        if os.path.exists(local)
        else [Path(match) for match in sorted(glob.glob(local, recursive=True))]
    )
    if not roots:
        raise SourceError(f"{src}: there is no such folder, and no folder or file matches it as a glob")
    is_photo = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE).match
    for root in roots:
        yield from _walk(root, is_photo, skipped)


def _walk(root: Path, is_photo: Callable[[str], object], skipped: _Skipped) -> Iterator[os.DirEntry[str]]:
    """Yield the photos below `root`, folder by folder, in the order of their names.

    Hidden files (.name) are passed over; linked folders are followed, each real folder once.
    """
    if root.is_file():
        yield from (entry for entry in os.scandir(root.parent) if entry.name == root.name)
        return
    waiting, seen = [str(root)], set[str]()
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        entries = _entries(folder)
        waiting.extend(entry.path for entry in reversed(entries) if entry.is_dir())
        for entry in entries:
            if entry.is_dir():
                continue
            if is_photo(entry.name):
                yield entry
            else:
                skipped.suffixes[os.path.splitext(entry.name)[1].lower()] += 1


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(f"cannot list {folder}: {error.strerror}") from error


def _selected(entries: Iterator[os.DirEntry[str]], selection: Selection) -> Iterator[os.DirEntry[str]]:
    if selection.sample is not None:
        limit = int(selection.sample * 2**64)
        entries = (entry for entry in entries if _hash64(entry.path) < limit)
    return itertools.islice(entries, selection.limit)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "big")


def _labeller(rule: str, src: str) -> Labeller:
    kind, _, rest = rule.partition(":")
    if kind == "parent":
        return lambda path: os.path.basename(os.path.dirname(path))
    if kind == "regex":
        pattern = re.compile(rest)
        return lambda path: match.group(1) if (match := pattern.search(path)) else None
    if kind == "csv":
        return _csv_labels(rest, to_local(src)).get
    return lambda path: None


def _csv_labels(file: str, src: str) -> dict[str, str]:
    """Read path,label rows; a relative path is relative to the source, else to the file's folder."""
    labels: dict[str, str] = {}
    try:
        with open(file, newline="", encoding="utf-8-sig") as rows:
            reader = csv.DictReader(rows)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise KeyError("path,label")
            for row in reader:
                path = to_local(row["path"])
                for base in (os.path.dirname(os.path.abspath(file)), os.path.abspath(src)):
                    labels[os.path.normpath(os.path.join(base, path))] = row["label"]
    except (OSError, KeyError) as error:
        raise SourceError(
            f"label = 'csv:{file}': expected a CSV with the columns path,label ({error!r})"
        ) from error
    return labels


def _spool(entries: Iterator[os.DirEntry[str]], label: Labeller, spool: Path) -> tuple[int, int]:
    n_photos = n_bytes = 0
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, _ARROW) as writer:
        while chunk := list(itertools.islice(entries, _ROWS_A_BATCH)):
            rows = [_row(entry, label) for entry in chunk]
            columns = [
                pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), _ARROW.types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_ARROW))
            n_photos += len(rows)
            n_bytes += sum(row[2] for row in rows)
    return n_photos, n_bytes


def _row(entry: os.DirEntry[str], label: Labeller) -> tuple[str, int, int, str | None]:
    try:
        status = entry.stat()
        # Whole milliseconds, as Hadoop's file status has them.
        modified_us, length = status.st_mtime_ns // 1_000_000 * 1000, status.st_size
    except OSError:  # a dangling link: the worker will say so in `rejected`
        modified_us, length = 0, 0
    # A name that is no UTF-8 cannot be a Spark string: spelt out, it ends in `rejected`, and is not lost.
    path = os.fsencode(os.path.abspath(entry.path)).decode("utf-8", "backslashreplace")
    return to_uri(path), modified_us, length, label(path)


def _task_weight(n_photos: int, n_bytes: int, n_cores: int) -> float:
    total = n_photos + n_bytes / BYTES_PER_WEIGHT
    n_tasks = max(math.ceil(total / TASK_WEIGHT), TASKS_PER_CORE * n_cores)
    n_tasks = math.ceil(n_tasks / n_cores) * n_cores  # whole rounds: no core idles in the last one
    return total / n_tasks


def _cut(spool: Path, folder: Path, task_weight: float) -> int:
    """Cut the spooled rows into files of about `task_weight`; return how many."""
    n_tasks, weight, held = 0, 0.0, list[pa.RecordBatch]()
    with pa.memory_map(str(spool)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            start = 0
            for row, length in enumerate(batch["length"].to_pylist()):
                weight += 1 + length / BYTES_PER_WEIGHT
                if weight >= task_weight * (n_tasks + 1) - 1e-6:
                    held.append(batch.slice(start, row + 1 - start))
                    _write_task(held, folder, n_tasks)
                    n_tasks, start, held = n_tasks + 1, row + 1, []
            if start < batch.num_rows:
                held.append(batch.slice(start))
        if held:
            _write_task(held, folder, n_tasks)
            n_tasks += 1
    return n_tasks


def _write_task(batches: list[pa.RecordBatch], folder: Path, number: int) -> None:
    pq.write_table(pa.Table.from_batches(batches, _ARROW), folder / f"task-{number:06d}.parquet")
