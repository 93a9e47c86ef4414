from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from verger.errors import ReductionError
from verger.tasks.vector_columns import matrix_of


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()], ids=str)
def test_a_sliced_column_is_read_as_the_matrix_of_its_own_rows(kind: pa.DataType) -> None:
    rows = [[float(10 * row + column) for column in range(3)] for row in range(6)]
    column = pa.array(rows, pa.list_(kind)).slice(2, 3)
    matrix = matrix_of(column)
    assert matrix.dtype == kind.to_pandas_dtype()
    np.testing.assert_array_equal(matrix, rows[2:5])


def test_a_missing_number_is_read_as_not_a_number() -> None:
    matrix = matrix_of(pa.array([[1.0, None], [3.0, 4.0]], pa.list_(pa.float32())))
    np.testing.assert_array_equal(matrix, [[1, np.nan], [3, 4]])


def test_vectors_of_unequal_widths_are_an_error() -> None:
    with pytest.raises(ReductionError, match=r"unequal widths: \[1, 2\]"):
        matrix_of(pa.array([[1.0], [3.0, 4.0]], pa.list_(pa.float32())))
