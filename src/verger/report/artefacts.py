"""Open what a finished result folder holds: manifest, tables, spectrum.

Tables are streamed a small batch at a time, for a result may be far larger than memory. Nothing here, nor
elsewhere in the report, reads the features themselves.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.errors import ResultError
from verger.storage.uri import AnyPath, parquet_files

Floats = npt.NDArray[np.float64]

_ROWS_A_BATCH = 16_384
_BUFFER_BYTES = 1 << 20
# A table has a file a task, up to 20,000; a store takes its time over each.
_FILES_AHEAD = 16


@dataclass(frozen=True)
class Manifest:
    """What ran, as `manifest.json` tells it; every key may be missing, for its schema grows."""

    facts: Mapping[str, object]

    def section(self, *keys: str) -> Mapping[str, object]:
        """Return the object under `keys`, empty where there is none."""
        found = self._find(keys)
        return found if isinstance(found, dict) else {}

    def text(self, *keys: str) -> str | None:
        """Return the string under `keys`, None where there is none or it is empty."""
        found = self._find(keys)
        return found if isinstance(found, str) and found else None

    def number(self, *keys: str) -> float | None:
        """Return the finite number under `keys`, None where there is none."""
        return as_number(self._find(keys))

    def _find(self, keys: Sequence[str]) -> object:
        found: object = self.facts
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True)
class Table:
    """The files of a Parquet folder, of which there is at least one, and its columns."""

    files: tuple[AnyPath, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Spectrum:
    """The whole explained variance: component numbers from 1, own and cumulative share in 0..1."""

    components: Floats
    ratios: Floats
    cumulative: Floats


def as_number(value: object) -> float | None:
    """Return a finite int or float as float; None for all else, booleans too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def read_manifest(result: AnyPath) -> Manifest:
    """Read `manifest.json`. Raises ResultError where `result` is not a finished verger result."""
    path = result / "manifest.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(f"{result} is not a finished verger result: it has no manifest.json") from error
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise ResultError(f"{path} holds {type(facts).__name__}, expected an object")
    return Manifest(facts)


def read_spectrum(result: AnyPath) -> Spectrum | None:
    """Read `model/spectrum.csv`; None where nothing was reduced. Raises ResultError where it is garbled."""
    path = result / "model" / "spectrum.csv"
    columns = ("component", "explained_variance_ratio", "cumulative_ratio")
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        rows = [[float(row[column]) for column in columns] for row in lines]
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(f"{path} cannot be read as {', '.join(columns)}: {error!r}") from error
    table = np.array(rows, dtype=np.float64).reshape(-1, len(columns))
    table = table[np.isfinite(table).all(axis=1)]
    return Spectrum(table[:, 0], table[:, 1], table[:, 2]) if len(table) else None


def open_table(result: AnyPath, name: str) -> Table | None:
    """Open the Parquet folder `name`; None where it is missing or Spark wrote no file at all."""
    folder = result / name
    files = tuple(parquet_files(folder)) if folder.is_dir() else ()
    if not files:
        return None
    try:
        with files[0].open("rb") as file:
            return Table(files, tuple(pq.read_schema(file).names))
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{folder} cannot be read as Parquet: {error}") from error


def stream(table: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the columns a small batch at a time. Raises ResultError where the files lack one."""
    missing = set(columns) - set(table.columns)
    if missing:
        raise ResultError(f"{table.files[0].parent} lacks the columns {', '.join(sorted(missing))}")
    n_ahead = 1 if isinstance(table.files[0], Path) else _FILES_AHEAD
    opening: deque[Future[Iterator[pa.Table]]] = deque()
    with ThreadPoolExecutor(n_ahead, thread_name_prefix="verger-tables") as pool:
        for path in table.files:
            opening.append(pool.submit(_open_batches, path, columns))
            if len(opening) >= n_ahead:
                yield from opening.popleft().result()
        while opening:
            yield from opening.popleft().result()


def tally(folder: AnyPath, column: str) -> Counter[Any]:
    """Return how often a column of a table has each value; nothing where there is no table."""
    found = Counter[Any]()
    table = open_table(folder.parent, folder.name)
    for batch in stream(table, [column]) if table is not None else ():
        found.update({pair["values"]: pair["counts"] for pair in pc.value_counts(batch[column]).to_pylist()})
    return found


def _open_batches(path: AnyPath, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Return a file's batches, the first of them read already."""
    batches = _batches(path, columns)
    return chain(list(islice(batches, 1)), batches)


def _batches(path: AnyPath, columns: Sequence[str]) -> Iterator[pa.Table]:
    # Not table.to_batches: that reads whole row groups (433 MB for a million photos, here 31 MB).
    with path.open("rb") as opened, pq.ParquetFile(opened, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS_A_BATCH, columns=list(columns)):
            yield pa.Table.from_batches([batch])
