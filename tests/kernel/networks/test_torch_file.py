"""Files of PyTorch are read without PyTorch, and refused if they are damaged or hold more than tensors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from verger.errors import WeightsError
from verger.kernel.networks.efficientnet_lite import weights_file
from verger.kernel.networks.torch_file import read_tensors

_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_STEM_SHAPE = b"K K\x03K\x03K\x03"  # (32, 3, 3, 3)


@pytest.fixture(scope="module")
def content() -> bytes:
    return weights_file("EfficientNetLite0").read_bytes()


def test_tensors_have_names_shapes_and_values() -> None:
    tensors = read_tensors(weights_file("EfficientNetLite0"))
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.weight"].shape == (1000, 1280)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype("float32"), np.dtype("int64")}
    for name, tensor in tensors.items():
        assert np.isfinite(tensor).all(), name
        assert not name.endswith("running_var") or (tensor >= 0).all(), name
    assert sum(tensor.size for tensor in tensors.values() if tensor.dtype == np.float32) == 4_694_024


def read(content: bytes, folder: Path) -> None:
    file = folder / "weights.pth"
    file.write_bytes(content)
    read_tensors(file)


@pytest.mark.parametrize("share", [0, 1e-6, 1e-3, 0.5, 1 - 1e-7])
def test_a_truncated_file_is_named(share: float, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.pth' is not a file of tensors .*install its package again"):
        read(content[: int(share * len(content))], tmp_path)


def test_a_tensor_beyond_its_storage_is_refused(content: bytes, tmp_path: Path) -> None:
    assert content.count(_STEM_SHAPE) == 1
    with pytest.raises(WeightsError, match="exceeds its storage"):
        read(content.replace(_STEM_SHAPE, _STEM_SHAPE.replace(b"K ", b"K\xff")), tmp_path)


def test_no_function_in_a_file_is_called(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"os\.mkdir is not allowed"):
        read(content.replace(_REBUILD, b"cos\nmkdir\n"), tmp_path)

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(WeightsError, match="is not allowed"):
        read(pickle.dumps(Attack()), tmp_path)
    assert not (tmp_path / "made").exists()
