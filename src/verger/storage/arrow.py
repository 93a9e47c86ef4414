"""Build Arrow columns from Python values, and NumPy arrays from Arrow columns.

`pyarrow.array` and `to_numpy` do the same, but their first call imports pandas if pandas is installed, which takes
a second or more in each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def strings(values: Sequence[str | None]) -> pa.Array:
    """Return a string column; None becomes null."""
    encoded = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
    buffers = [_validity(values), _offsets([len(word) for word in encoded]), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def integers(values: Sequence[int | None]) -> pa.Array:
    """Return an int32 column; None becomes null."""
    numbers = np.array([0 if value is None else value for value in values], np.int32)
    return pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(numbers)])


def longs(values: Sequence[int | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return an int64 column, or a column of the 64-bit type `kind`; None becomes null."""
    numbers = np.array([0 if value is None else value for value in values], np.int64)
    return pa.Array.from_buffers(kind or pa.int64(), len(values), [_validity(values), pa.py_buffer(numbers)])


def hashes(values: Sequence[int]) -> pa.Array:
    """Return a uint64 column."""
    return pa.Array.from_buffers(pa.uint64(), len(values), [None, pa.py_buffer(np.array(values, np.uint64))])


def booleans(values: Sequence[bool]) -> pa.Array:
    """Return a boolean column."""
    bits = pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def binaries(values: Sequence[bytes | None]) -> pa.Array:
    """Return a binary column; None becomes null."""
    present = [value or b"" for value in values]
    buffers = [_validity(values), _offsets([len(value) for value in present]), pa.py_buffer(b"".join(present))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def vectors(values: Sequence[npt.NDArray[np.float32] | None], width: int) -> pa.Array:
    """Return a list<float32> column of vectors of the same width; None becomes null."""
    present = [value for value in values if value is not None]
    flat = np.concatenate(present) if present else np.zeros(0, np.float32)
    items = pa.Array.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])
    lengths = [0 if value is None else width for value in values]
    buffers = [_validity(values), _offsets(lengths)]
    return pa.Array.from_buffers(pa.list_(pa.float32()), len(values), buffers, children=[items])


_NUMPY_TYPES: dict[pa.DataType, type[np.number[Any]]] = {
    pa.float32(): np.float32,
    pa.float64(): np.float64,
    pa.int64(): np.int64,
}


def numbers_of(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column of numbers as a NumPy array. A column without nulls is not copied."""
    if isinstance(values, pa.ChunkedArray):
        return np.concatenate([numbers_of(chunk) for chunk in values.chunks] or [np.zeros(0)])
    kind = _NUMPY_TYPES.get(values.type)
    if kind is None or values.null_count or not len(values):
        converted: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return converted
    return np.frombuffer(values.buffers()[1], kind)[values.offset : values.offset + len(values)]


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    is_there = np.array([value is not None for value in values], bool)
    return None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))


def _offsets(lengths: list[int]) -> pa.Buffer:
    return pa.py_buffer(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
