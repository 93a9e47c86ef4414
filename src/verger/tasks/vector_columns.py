"""Vectors of Arrow batches as matrices, and components back as columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.errors import ReductionError
from verger.kernel.pca import Projection
from verger.storage import arrow

Matrix = npt.NDArray[np.floating]


def matrix_of(vectors: pa.ListArray) -> Matrix:
    """Return the (n, d) matrix of a list column without nulls; raises ReductionError where the widths differ."""
    widths = vectors.value_lengths().unique().to_pylist()
    if len(widths) != 1:
        raise ReductionError(f"feature vectors of unequal widths: {sorted(widths)}")
    return arrow.numbers_of(vectors.flatten()).reshape(len(vectors), -1)


def components_column(vectors: pa.ListArray, projection: Projection) -> pa.Array:
    """Return the components of a list column of vectors; null where these are null."""
    is_there = np.array(vectors.is_valid().to_pylist(), bool)
    found: list[npt.NDArray[np.float32] | None] = [None] * len(vectors)
    if is_there.any():
        projected = projection(matrix_of(vectors.drop_null()))
        for row, components in zip(np.flatnonzero(is_there), projected, strict=True):
            found[row] = components
    return arrow.vectors(found, projection.k)
