"""Write part files of tables under a temporary name: a file that has its final name is complete."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage.atomic import write_atomically
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath

# Rows per row group. A reader holds one row group in memory: 5 MB with 1,280 features.
ROWS_PER_GROUP = 1024


@contextmanager
def part_file(target: AnyPath) -> Iterator[BinaryIO]:
    """Yield a local file to write. If the block succeeds, the file becomes `target`, otherwise it is removed.

    It is an open file, because pyarrow can open only files whose names are UTF-8.
    """
    if not isinstance(target, ObjectPath):
        with write_atomically(target) as temporary, temporary.open("wb") as file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="verger-part-") as folder:
        path = Path(folder) / "part"
        with path.open("wb") as file:
            yield file
        target.write_file(path)


class PartWriter:
    """Writes one part of a table; made by `open_part`."""

    def __init__(self, target: AnyPath, schema: pa.Schema, files: ExitStack) -> None:
        self._target = target
        self._schema = schema
        self._files = files
        self._batches: list[pa.RecordBatch] = []
        self._n_buffered = 0
        self._writer: pq.ParquetWriter | None = None
        self.n_rows = 0

    @property
    def name(self) -> str | None:
        """Name of the file; None if there are no rows, because then there is no file."""
        return self._target.name if self.n_rows else None

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows; they are written in row groups of about ROWS_PER_GROUP."""
        if not rows.num_rows:
            return
        self._batches.append(rows)
        self._n_buffered += rows.num_rows
        if self._n_buffered >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows as a row group."""
        if not self._batches:
            return
        if self._writer is None:
            file = self._files.enter_context(part_file(self._target))
            # Columns of numbers get no dictionary, because numbers hardly repeat. Only the path column has
            # statistics: they contain the first path, by which the parts are sorted.
            self._writer = pq.ParquetWriter(
                file,
                self._schema,
                use_dictionary=[name for name in ("label", "reason") if name in self._schema.names],
                write_statistics=["path"],
            )
        rows = pa.Table.from_batches(self._batches, self._schema)
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self.n_rows += rows.num_rows
        self._batches, self._n_buffered = [], 0

    def close(self) -> None:
        """Write the buffered rows and the footer; without rows, remove the file of an earlier attempt."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
        else:
            self._target.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close the file after an error."""
        if self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()


@contextmanager
def open_part(target: AnyPath, schema: pa.Schema) -> Iterator[PartWriter]:
    """Yield a writer for a part. If the block succeeds and there are rows, `target` is a complete Parquet file."""
    with ExitStack() as files:
        part = PartWriter(target, schema, files)
        try:
            yield part
            part.close()
        except BaseException:
            part.discard()
            raise
