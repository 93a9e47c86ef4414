"""What tasks have done, kept at once: a Parquet file a task, of outcomes that the published result does not have.

A disturbed run loses the tasks that were not finished; `--resume` finds the others here. Imports no pyspark.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from verger.columns import booleans
from verger.errors import DecodeError
from verger.featurize.known import Known, KnownFeatures
from verger.featurize.runtime import PhotoFeatures
from verger.objects import ObjectPath
from verger.uri import any_path

COMPUTED = "computed"


@dataclass(frozen=True)
class Journal:
    """Where the tasks of a run leave their outcomes (`task` is this one), and what is known of earlier runs."""

    folder: str
    known: Known | None = None
    task: int = 0

    @contextmanager
    def part(self) -> Iterator[Part]:
        """Yield what takes the task's outcomes; the file is there when the block ends well, and whole."""
        target = any_path(self.folder) / f"task-{self.task:06d}.parquet"
        if isinstance(target, ObjectPath):
            buffer = pa.BufferOutputStream()
            with Part(buffer) as part:
                yield part
            if part.has_rows:
                target.write_bytes(buffer.getvalue().to_pybytes())
            return
        beside = target.with_name(f".{target.name}-{os.getpid()}")
        try:
            with beside.open("wb") as file, Part(file) as part:
                yield part
            if part.has_rows:
                beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


class Part:
    """A task's file: the outgoing rows that the published result has not, and whether each was computed."""

    def __init__(self, sink: IO[bytes] | pa.NativeFile) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None

    @property
    def has_rows(self) -> bool:
        """Tell whether the task had any rows, new or not: an empty file is no table."""
        return self._writer is not None

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, rows: pa.RecordBatch, outcomes: Sequence[PhotoFeatures | DecodeError]) -> None:
        """Add rows, of which `outcomes` tells what became of each."""
        is_new = [not (isinstance(o, KnownFeatures) and o.is_unchanged) for o in outcomes]
        rows = rows.append_column(COMPUTED, booleans([type(o) is PhotoFeatures for o in outcomes]))
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink, rows.schema, compression="none", use_dictionary=False, write_statistics=False
            )
        if not all(is_new):
            rows = rows.filter(booleans(is_new))
        if rows.num_rows:
            self._writer.write_batch(rows)
