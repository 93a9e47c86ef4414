"""The export task: write rows of a table to a CSV or JSON lines file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.csv

from verger.storage.uri import any_path
from verger.tasks.base import Attempt
from verger.tasks.part_files import part_file
from verger.tasks.spans import Spans, read_spans
from verger.tasks.vector_columns import matrix_of

_ROWS_PER_BATCH = 1024

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class ExportJob:
    """Shared state: how to write the files.

    format: a key of WRITERS. column: name of the column of vectors. width: the number of values in a vector.
    prefix: the CSV columns of the values are named PREFIX_1, PREFIX_2 and so on.
    """

    format: str
    column: str
    width: int
    prefix: str


@dataclass(frozen=True)
class ExportItem:
    """An item: a file to write, and the rows to write to it."""

    target: str
    spans: Spans


def export_partition(job: ExportJob, item: ExportItem, attempt: Attempt) -> None:
    """Write one file with path, label and vector of each row."""
    with part_file(any_path(item.target)) as file:
        WRITERS[job.format](job, read_spans(item.spans, ["path", "label", job.column], _ROWS_PER_BATCH), file)


def _write_csv(job: ExportJob, batches: Batches, file: BinaryIO) -> None:
    """Write path, label and one column per value, in the format of RFC 4180."""
    names = ["path", "label", *(f"{job.prefix}_{number}" for number in range(1, job.width + 1))]
    kind = pa.schema([(name, pa.string() if i < 2 else pa.float32()) for i, name in enumerate(names)])
    with pyarrow.csv.CSVWriter(file, kind) as writer:
        for batch in batches:
            matrix = matrix_of(batch[job.column])
            numbers = [_floats(matrix[:, number]) for number in range(job.width)]
            writer.write_batch(pa.RecordBatch.from_arrays([batch["path"], batch["label"], *numbers], schema=kind))


def _floats(values: object) -> pa.Array:
    import numpy as np

    column = np.ascontiguousarray(values, np.float32)
    return pa.Array.from_buffers(pa.float32(), len(column), [None, pa.py_buffer(column)])


def _write_json(job: ExportJob, batches: Batches, file: BinaryIO) -> None:
    """Write one JSON object per line."""
    for batch in batches:
        paths, labels = batch["path"].to_pylist(), batch["label"].to_pylist()
        for path, label, vector in zip(paths, labels, matrix_of(batch[job.column]), strict=True):
            row = {"path": path, "label": label, job.column: vector}
            file.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


WRITERS: dict[str, Callable[[ExportJob, Batches, BinaryIO], None]] = {"csv": _write_csv, "json": _write_json}
