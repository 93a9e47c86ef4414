"""PartWriter files of tables: written under a temporary name, so that a part of the right name is whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from verger.storage.atomic import write_atomically
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath

# Rows of a row group: what a reader holds at a time, 5 MB of 1,280 features.
ROWS_A_GROUP = 1024


@contextmanager
def part_file(target: AnyPath) -> Iterator[Path]:
    """Yield a local file to write; it becomes `target` when the block ends well, and is removed otherwise."""
    if not isinstance(target, ObjectPath):
        with write_atomically(target) as beside:
            yield beside
        return
    with tempfile.TemporaryDirectory(prefix="verger-part-") as folder:
        file = Path(folder) / "part"
        yield file
        target.write_file(file)


class PartWriter:
    """One part of a table, as `open_part` yields it."""

    def __init__(self, target: AnyPath, schema: pa.Schema, files: ExitStack) -> None:
        self._target = target
        self._schema = schema
        self._files = files
        self._held: list[pa.RecordBatch] = []
        self._n_held = 0
        self._writer: pq.ParquetWriter | None = None
        self.n_rows = 0

    @property
    def name(self) -> str | None:
        """Name of the file; None where there are no rows, and so no file."""
        return self._target.name if self.n_rows else None

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows; they reach the disk in row groups of about ROWS_A_GROUP."""
        if not rows.num_rows:
            return
        self._held.append(rows)
        self._n_held += rows.num_rows
        if self._n_held >= ROWS_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """End the row group."""
        if not self._held:
            return
        if self._writer is None:
            file = self._files.enter_context(part_file(self._target))
            # Numbers hardly repeat: a dictionary of them costs time and saves nothing. Of the statistics only the
            # first path is used, to put parts in order.
            self._writer = pq.ParquetWriter(
                file,
                self._schema,
                use_dictionary=[name for name in ("label", "reason") if name in self._schema.names],
                write_statistics=["path"],
            )
        rows = pa.Table.from_batches(self._held, self._schema)
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self.n_rows += rows.num_rows
        self._held, self._n_held = [], 0

    def close(self) -> None:
        """Write what is held, and the footer; without any rows remove what an earlier attempt has left."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
        else:
            self._target.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close the file of a part that will not be kept."""
        if self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()


@contextmanager
def open_part(target: AnyPath, schema: pa.Schema) -> Iterator[PartWriter]:
    """Yield a part to write rows to; when the block ends well the file is there, and whole, if it has any rows."""
    with ExitStack() as files:
        part = PartWriter(target, schema, files)
        try:
            yield part
            part.close()
        except BaseException:
            part.discard()
            raise
