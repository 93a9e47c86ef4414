"""Reads the tensors in a file of PyTorch without PyTorch.

The format is that of `torch.save` before PyTorch 1.6: five pickles (magic number, version of the protocol, facts
about the machine, the tensors' descriptions, the keys of the storages), then the content of each storage.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import WeightsError

Array = npt.NDArray[Any]

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_LENGTH_BYTES = 8  # before each storage is the number of its values


def read_tensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a state dictionary by their names.

    Raises WeightsError if the file is damaged, or if it contains anything other than tensors: unpickling calls only
    functions of this module.
    """
    try:
        return _read(io.BytesIO(path.read_bytes()))
    except Exception as error:  # a damaged pickle raises errors of many classes
        raise WeightsError(
            f"{str(path)!r} is not a file of tensors that verger can read ({type(error).__name__}: {error}): "
            "install its package again"
        ) from error


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype[Any]
    key: str


@dataclass(frozen=True)
class _Tensor:
    """The description of a tensor: a view of a storage. offset and strides count values, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, values: Array) -> Array:
        """Return the tensor as an array of its own, given the values of its storage."""
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or last >= len(values):
            raise ValueError(f"a tensor of shape {self.shape} exceeds its storage of {len(values)} values")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides).copy()


def _rebuild(storage: _Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Unpickles only descriptions of tensors, and refuses all other classes and functions."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"{kind!r} is not allowed")
        return _Storage(dtype, str(key))


def _read(file: io.BytesIO) -> dict[str, Array]:
    magic, _, _, tensors, keys = (_Unpickler(file).load() for _ in range(5))
    if magic != _MAGIC_NUMBER or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("the content is not a dictionary of tensors")
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    values = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: tensor.view(values[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: io.BytesIO, dtype: np.dtype[Any]) -> Array:
    n_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little") * dtype.itemsize
    content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise EOFError("the file is truncated")
    return np.frombuffer(content, dtype)
