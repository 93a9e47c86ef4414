"""Translation of single operations from OpenVINO to ONNX: a table of equal operations, functions for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import SetupError, WeightsError

PIXELS, FEATURES = "pixels", "features"


class Translation:
    """The ONNX nodes and constants so far. Each value has the name of the OpenVINO node that computes it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._depends_on_pixels: set[str] = set()

    def translate(self, node: Any) -> None:
        """Add the ONNX node for an OpenVINO node; raises WeightsError if ONNX has no equal operation."""
        kind, name = node.get_type_name(), node.get_name()
        sources = [port.get_source_output() for port in node.inputs()]
        if any(source.get_index() > 0 for source in sources):
            raise _unsupported(sources[0].get_node())
        inputs = [source.get_node().get_name() for source in sources]
        if kind == "Parameter" or self._depends_on_pixels.intersection(inputs):
            self._depends_on_pixels.add(name)
        if kind == "Parameter":
            self.add("Identity", [PIXELS], name)
        elif kind == "Result":
            self.add("Identity", inputs, FEATURES)
        elif kind == "Constant":
            self.add_constant(name, _widen(np.array(node.data)))
        elif kind in _RENAMED:
            self.add(_RENAMED[kind], inputs, name)
        elif kind in _RULES:
            _RULES[kind](self, node, inputs, name)
        else:
            raise _unsupported(node)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an ONNX node; return the name of its output."""
        self.nodes.append(import_onnx().helper.make_node(kind, inputs, [output], **attributes))
        return output

    def add_constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant; return its name."""
        self.constants.append(import_onnx().numpy_helper.from_array(value, name))
        return name

    def is_batch(self, name: str) -> bool:
        """Return whether the first axis of a value is the batch of photos."""
        return name in self._depends_on_pixels


def _widen(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Widen signed integers to 64 bits, as ONNX requires for axes, shapes and indices."""
    return value.astype(np.int64) if np.issubdtype(value.dtype, np.signedinteger) else value


def _unsupported(node: Any) -> WeightsError:
    return WeightsError(
        f"the operation {node.get_type_name()} of this network cannot be translated to ONNX: use --device cpu"
    )


Rule = Callable[[Translation, Any, list[str], str], object]

_RENAMED = {
    "Abs": "Abs",
    "Add": "Add",
    "Ceiling": "Ceil",
    "Divide": "Div",
    "Erf": "Erf",
    "Exp": "Exp",
    "Floor": "Floor",
    "HSwish": "HardSwish",
    "Log": "Log",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Negative": "Neg",
    "Power": "Pow",
    "PRelu": "PRelu",
    "Relu": "Relu",
    "ShapeOf": "Shape",
    "Sigmoid": "Sigmoid",
    "SoftPlus": "Softplus",
    "Sqrt": "Sqrt",
    "Squeeze": "Squeeze",
    "Subtract": "Sub",
    "Tanh": "Tanh",
    "Unsqueeze": "Unsqueeze",
}


def _constant_of(node: Any, index: int) -> npt.NDArray[Any]:
    """Return the value of an input, which must be a constant."""
    source = node.input_value(index).get_node()
    if source.get_type_name() != "Constant":
        raise _unsupported(node)
    return np.array(source.data)


def _integers(node: Any, index: int) -> list[int]:
    return [int(value) for value in _constant_of(node, index).ravel()]


def _windows(node: Any) -> dict[str, Any]:
    """Return strides, dilations and pads of a convolution or pooling; for "same" OpenVINO has computed the pads."""
    attributes = node.get_attributes()
    pads = [*attributes["pads_begin"], *attributes["pads_end"]]
    return {"strides": list(attributes["strides"]), "dilations": list(attributes["dilations"]), "pads": pads}


def _convolution(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("Conv", inputs, name, **_windows(node))


def _group_convolution(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    groups, _, *kernel = list(node.input(1).get_shape())
    shape = translation.add_constant(f"{name}/shape", np.array([-1, *kernel], np.int64))
    weights = translation.add("Reshape", [inputs[1], shape], f"{name}/weights")
    translation.add("Conv", [inputs[0], weights], name, group=groups, **_windows(node))


def _batch_norm(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    if node.get_type_info().version_id != "opset5":  # the older version has its inputs in another order
        raise _unsupported(node)
    translation.add("BatchNormalization", inputs, name, epsilon=float(node.get_attributes()["epsilon"]))


def _pool(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    attributes = node.get_attributes()
    pooling = _windows(node) | {
        "kernel_shape": list(attributes["kernel"]),
        "ceil_mode": int(attributes["rounding_type"] != "floor"),
    }
    if node.get_type_name() == "AvgPool":
        translation.add(
            "AveragePool", inputs, name, count_include_pad=int(not attributes["exclude-pad"]), **pooling
        )
    else:
        translation.add("MaxPool", inputs, name, **pooling)


def _clamp(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    attributes = node.get_attributes()
    limits = [
        translation.add_constant(f"{name}/{end}", np.array(attributes[end], np.float32)) for end in ("min", "max")
    ]
    translation.add("Clip", [*inputs, *limits], name)


def _swish(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    scaled = inputs[0] if len(inputs) == 1 else translation.add("Mul", inputs, f"{name}/scaled")
    gate = translation.add("Sigmoid", [scaled], f"{name}/gate")
    translation.add("Mul", [inputs[0], gate], name)


def _hard_sigmoid(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("HardSigmoid", inputs, name, alpha=1 / 6, beta=0.5)


def _gelu(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    is_exact = str(node.get_attributes().get("approximation_mode", "ERF")).upper() == "ERF"
    translation.add("Gelu", inputs, name, approximate="none" if is_exact else "tanh")


def _convert(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    types = import_onnx().TensorProto
    onnx_types = {"f32": types.FLOAT, "f16": types.FLOAT16, "i64": types.INT64, "i32": types.INT64}
    kind = node.get_attributes()["destination_type"]
    if kind not in onnx_types:
        raise _unsupported(node)
    translation.add("Cast", inputs, name, to=onnx_types[kind])


def _reduce(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add(node.get_type_name(), inputs, name, keepdims=int(node.get_attributes()["keep_dims"]))


def _pad(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    mode = node.get_attributes()["pad_mode"]
    if mode not in ("constant", "edge", "reflect"):
        raise _unsupported(node)
    pads = translation.add_constant(f"{name}/pads", np.array([*_integers(node, 1), *_integers(node, 2)], np.int64))
    translation.add("Pad", [inputs[0], pads, *inputs[3:]], name, mode=mode)


def _reshape(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    """Translate a reshape. If it sets the batch axis to 1, ONNX gets 0, which means: keep the size of this axis."""
    if node.input_value(1).get_node().get_type_name() != "Constant":
        translation.add("Reshape", inputs, name, allowzero=int(not node.get_attributes()["special_zero"]))
        return
    target = _integers(node, 1)
    if translation.is_batch(inputs[0]) and target[0] == 1 and list(node.input(0).get_shape())[:1] == [1]:
        target[0] = 0
    translation.add(
        "Reshape", [inputs[0], translation.add_constant(f"{name}/target", np.array(target, np.int64))], name
    )


def _transpose(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("Transpose", inputs[:1], name, perm=_integers(node, 1))


def _concat(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("Concat", inputs, name, axis=int(node.get_attributes()["axis"]))


def _gather(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("Gather", inputs[:2], name, axis=_integers(node, 2)[0])


def _softmax(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    translation.add("Softmax", inputs, name, axis=int(node.get_attributes()["axis"]))


def _slice(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    data, starts, stops, steps, *axes = inputs
    translation.add("Slice", [data, starts, stops, *(axes or [""]), steps], name)


def _broadcast(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    if node.get_attributes()["mode"] != "numpy":
        raise _unsupported(node)
    translation.add("Expand", inputs, name)


def _matmul(translation: Translation, node: Any, inputs: list[str], name: str) -> None:
    attributes, sides = node.get_attributes(), []
    for index, side in enumerate(("transpose_a", "transpose_b")):
        rank = len(node.input(index).get_partial_shape())
        swapped = [*range(rank - 2), rank - 1, rank - 2]
        is_swapped = attributes[side] and rank > 1
        sides.append(
            translation.add("Transpose", [inputs[index]], f"{name}/{side}", perm=swapped)
            if is_swapped
            else inputs[index]
        )
    translation.add("MatMul", sides, name)


_RULES: dict[str, Rule] = {
    "AvgPool": _pool,
    "BatchNormInference": _batch_norm,
    "Broadcast": _broadcast,
    "Clamp": _clamp,
    "Concat": _concat,
    "Convert": _convert,
    "Convolution": _convolution,
    "Gather": _gather,
    "Gelu": _gelu,
    "GroupConvolution": _group_convolution,
    "HSigmoid": _hard_sigmoid,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Pad": _pad,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Swish": _swish,
    "Transpose": _transpose,
}


def import_onnx() -> Any:
    """Return the package `onnx`; raises SetupError if it is not installed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise SetupError(
            "--device cuda and onnx need ONNX: pip install 'verger[gpu]' (or 'verger[onnx]')"
        ) from error
    return onnx
