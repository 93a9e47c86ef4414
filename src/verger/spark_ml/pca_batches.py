"""Functions of PCA that Spark workers apply to Arrow batches of vectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.kernel.moments import Array, Moments
from verger.kernel.pca import Projection
from verger.kernel.sketch import product_part
from verger.storage.arrow import binaries, integers
from verger.tasks.vector_columns import matrix_of

if TYPE_CHECKING:
    import pandas as pd

PART = "number int, part binary"

# Matrix products of a few rows are slow, so batches are concatenated to blocks of about this size (in float64).
_BLOCK_BYTES = 32 << 20


def moments_of_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield one row (partition number, Moments), or nothing for an empty partition."""
    total: Moments | None = None
    for block in _blocks(batches):
        moments = Moments.from_vectors(block)
        total = moments if total is None else total.merge(moments)
    if total is not None:
        yield _part(total.to_bytes())


def product_of_batches(
    batches: Iterable[pa.RecordBatch], mean: Array, scale: Array, basis: Array
) -> Iterator[pa.RecordBatch]:
    """Yield one row (partition number, the partition's contribution to `sketch.Product`)."""
    total = np.zeros(basis.shape)
    for block in _blocks(batches):
        total += product_part(block, mean, scale, basis)
    yield _part(total.tobytes())


def components_of(vectors: pd.Series, projection: Projection) -> pd.Series:
    """Return the components of a series of vectors; None for a missing vector."""
    import pandas as pd

    is_valid = vectors.notna().to_numpy()
    components = pd.Series([None] * len(vectors), dtype=object)
    if is_valid.any():
        rows = projection(np.stack(vectors[is_valid].to_list()))
        components[is_valid] = pd.Series(list(rows), index=components.index[is_valid])
    return components


def merged_groups(
    batches: Iterable[pa.RecordBatch], fan_in: int, merge: Callable[[list[bytes]], bytes]
) -> Iterator[pa.RecordBatch]:
    """Yield one row (group, merged part) per group; rows with the same `number // fan_in` form a group."""
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
            held.append(matrix_of(vectors))
        if sum(block.size for block in held) * 8 >= _BLOCK_BYTES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
