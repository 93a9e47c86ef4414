"""Convert Arrow columns of vectors to matrices, and compute columns of components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import ClassifierError, ReductionError
from verger.kernel.pca import Projection
from verger.storage import arrow

Matrix = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]


def matrix_of(vectors: pa.ListArray) -> Matrix:
    """Return a list column without nulls as an (n, d) matrix; raises ReductionError for lists of unequal length."""
    widths = vectors.value_lengths().unique().to_pylist()
    if len(widths) != 1:
        raise ReductionError(f"feature vectors of unequal widths: {sorted(widths)}")
    return arrow.numbers_of(vectors.flatten()).reshape(len(vectors), -1)


def labelled_rows(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """Return the rows that have a label and a vector in `column`."""
    return batch.filter(pc.and_(pc.is_valid(batch["label"]), pc.is_valid(batch[column])))


def check_finite(vectors: Matrix, column: str, file: str) -> None:
    """Raise ClassifierError if a vector holds NaN or infinity; `file` is the file that holds the vectors."""
    is_finite = np.isfinite(vectors).all(axis=1)
    if not is_finite.all():
        raise ClassifierError(
            f"{file}: NaN or infinity in {int((~is_finite).sum())} of {len(vectors)} vectors of {column}: check "
            "the weights of the network, and compute the features again"
        )


def components_column(vectors: pa.ListArray, projection: Projection) -> pa.Array:
    """Return the components of a list column of vectors; null where a vector is null."""
    return map_vectors(vectors, projection, projection.k)


def map_vectors(vectors: pa.ListArray, function: Callable[[Matrix], Floats], width: int) -> pa.Array:
    """Apply a function from (n, d) to (n, width) matrices to a list column of vectors; nulls stay nulls."""
    is_valid = np.array(vectors.is_valid().to_pylist(), bool)
    rows: list[Floats | None] = [None] * len(vectors)
    if is_valid.any():
        mapped = function(matrix_of(vectors.drop_null()))
        for row, vector in zip(np.flatnonzero(is_valid), mapped, strict=True):
            rows[row] = vector
    return arrow.vectors(rows, width)
