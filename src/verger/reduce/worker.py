"""What a Spark worker does with Arrow batches of vectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from verger import columns
from verger.columns import binaries, integers
from verger.errors import ReductionError
from verger.reduce.moments import Array, Moments
from verger.reduce.pca import Projection
from verger.reduce.sketch import product_part
from verger.uri import any_path

if TYPE_CHECKING:
    import pandas as pd

PART = "number int, part binary"

# Matrix products are slow on few rows: batches are gathered until they fill so much (float64).
_BLOCK_BYTES = 32 << 20
_ROWS_A_BATCH = 1024


def read_tables(
    batches: Iterable[pa.RecordBatch], files: Sequence[str], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of Parquet files, which the batches name by their numbers in `files`."""
    for number in itertools.chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
        with any_path(files[number]).open("rb") as opened, pq.ParquetFile(opened) as file:
            yield from file.iter_batches(columns=list(names), batch_size=_ROWS_A_BATCH)


def moments_of_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield one row (partition number, Moments), or nothing for an empty partition."""
    total: Moments | None = None
    for block in _blocks(batches):
        moments = Moments.of(block)
        total = moments if total is None else total.merge(moments)
    if total is not None:
        yield _part(total.to_bytes())


def product_of_batches(
    batches: Iterable[pa.RecordBatch], mean: Array, scale: Array, basis: Array
) -> Iterator[pa.RecordBatch]:
    """Yield one row (partition number, the partition's part of sketch.Product)."""
    total = np.zeros(basis.shape)
    for block in _blocks(batches):
        total += product_part(block, mean, scale, basis)
    yield _part(total.tobytes())


def replace_by_components(batch: pa.RecordBatch, projection: Projection, column: str) -> pa.RecordBatch:
    """Return the batch with the column `components` instead of the vectors `column`; null where these are null."""
    vectors = batch[column]
    is_there = vectors.is_valid().to_numpy(zero_copy_only=False)
    found: list[npt.NDArray[np.float32] | None] = [None] * len(vectors)
    if is_there.any():
        projected = projection(_matrix(vectors.drop_null()))
        for row, components in zip(np.flatnonzero(is_there), projected, strict=True):
            found[row] = components
    kept = [name for name in batch.schema.names if name != column]
    arrays = [*(batch[name] for name in kept), columns.vectors(found, projection.k)]
    return pa.RecordBatch.from_arrays(arrays, [*kept, "components"])


def components_of(vectors: pd.Series, projection: Projection) -> pd.Series:
    """Return the components of a series of vectors, None where there is none."""
    import pandas as pd

    is_there = vectors.notna().to_numpy()
    found = pd.Series([None] * len(vectors), dtype=object)
    if is_there.any():
        rows = projection(np.stack(vectors[is_there].to_list()))
        found[is_there] = pd.Series(list(rows), index=found.index[is_there])
    return found


def merged_groups(
    batches: Iterable[pa.RecordBatch], fan_in: int, merge: Callable[[list[bytes]], bytes]
) -> Iterator[pa.RecordBatch]:
    """Yield one row (group, merged part) for the rows of each group: the numbers that `fan_in` divides alike."""
    rows = sorted(tuple(row.values()) for batch in batches for row in batch.to_pylist())
    for group, parts in itertools.groupby(rows, lambda row: row[0] // fan_in):
        yield _part(merge([part for _, part in parts]), group)


def _part(data: bytes, number: int | None = None) -> pa.RecordBatch:
    if number is None:
        from pyspark import TaskContext

        context = TaskContext.get()
        number = context.partitionId() if context else 0
    return pa.RecordBatch.from_arrays([integers([number]), binaries([data])], ["number", "part"])


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield (n, d) blocks of the vectors in one-column batches."""
    held: list[npt.NDArray[np.floating]] = []
    for batch in batches:
        if len(vectors := batch.column(0).drop_null()):
            held.append(_matrix(vectors))
        if sum(block.size for block in held) * 8 >= _BLOCK_BYTES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _matrix(vectors: pa.ListArray) -> npt.NDArray[np.floating]:
    widths = vectors.value_lengths().unique().to_pylist()
    if len(widths) != 1:
        raise ReductionError(f"feature vectors of unequal widths: {sorted(widths)}")
    values: npt.NDArray[np.floating] = vectors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(vectors), -1)
