"""OpenVINO's operations as ONNX ones: of most the name changes, the others have a function of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import SetupError, WeightsError

PIXELS, FEATURES = "pixels", "features"


class Translation:
    """The ONNX nodes and constants so far; values are known by the names of the OpenVINO nodes that give them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._seen_from_pixels: set[str] = set()

    def translate(self, node: Any) -> None:
        """Add what an OpenVINO node computes; raises WeightsError where ONNX has no counterpart here."""
        kind, name = node.get_type_name(), node.get_name()
        sources = [port.get_source_output() for port in node.inputs()]
        if any(source.get_index() > 0 for source in sources):
            raise _unknown(sources[0].get_node())
        inputs = [source.get_node().get_name() for source in sources]
        if kind == "Parameter" or self._seen_from_pixels.intersection(inputs):
            self._seen_from_pixels.add(name)
        if kind == "Parameter":
            self.add("Identity", [PIXELS], name)
        elif kind == "Result":
            self.add("Identity", inputs, FEATURES)
        elif kind == "Constant":
            self.constant(name, _wide(np.array(node.data)))
        elif kind in _SAME:
            self.add(_SAME[kind], inputs, name)
        elif kind in _OWN:
            _OWN[kind](self, node, inputs, name)
        else:
            raise _unknown(node)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an ONNX node; return the name of its value."""
        self.nodes.append(import_onnx().helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant; return its name."""
        self.constants.append(import_onnx().numpy_helper.from_array(value, name))
        return name

    def is_batch(self, name: str) -> bool:
        """Tell whether a value has the photos along its first axis."""
        return name in self._seen_from_pixels


def _wide(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """ONNX takes axes, shapes and indices in 64 bits only: so does every integer here."""
    return value.astype(np.int64) if np.issubdtype(value.dtype, np.signedinteger) else value


def _unknown(node: Any) -> WeightsError:
    return WeightsError(
        f"the network has an operation that verger cannot hand to ONNX Runtime: {node.get_type_name()} "
        "(--device cpu computes it)"
    )


Rule = Callable[[Translation, Any, list[str], str], object]

_SAME = {
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
    """Return the value of an input that must be a constant."""
    source = node.input_value(index).get_node()
    if source.get_type_name() != "Constant":
        raise _unknown(node)
    return np.array(source.data)


def _integers(node: Any, index: int) -> list[int]:
    return [int(value) for value in _constant_of(node, index).ravel()]


def _windows(node: Any) -> dict[str, Any]:
    """Return strides, dilations and pads of a convolution or a pooling; "same" paddings are numbers here."""
    told = node.get_attributes()
    pads = [*told["pads_begin"], *told["pads_end"]]
    return {"strides": list(told["strides"]), "dilations": list(told["dilations"]), "pads": pads}


def _convolution(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("Conv", inputs, name, **_windows(node))


def _group_convolution(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    groups, _, *kernel = list(node.input(1).get_shape())
    shape = made.constant(f"{name}/shape", np.array([-1, *kernel], np.int64))
    weights = made.add("Reshape", [inputs[1], shape], f"{name}/weights")
    made.add("Conv", [inputs[0], weights], name, group=groups, **_windows(node))


def _batch_norm(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    if node.get_type_info().version_id != "opset5":  # the older one has its inputs in another order
        raise _unknown(node)
    made.add("BatchNormalization", inputs, name, epsilon=float(node.get_attributes()["epsilon"]))


def _pool(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    told = node.get_attributes()
    attributes = _windows(node) | {
        "kernel_shape": list(told["kernel"]),
        "ceil_mode": int(told["rounding_type"] != "floor"),
    }
    if node.get_type_name() == "AvgPool":
        made.add("AveragePool", inputs, name, count_include_pad=int(not told["exclude-pad"]), **attributes)
    else:
        made.add("MaxPool", inputs, name, **attributes)


def _clamp(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    told = node.get_attributes()
    limits = [made.constant(f"{name}/{end}", np.array(told[end], np.float32)) for end in ("min", "max")]
    made.add("Clip", [*inputs, *limits], name)


def _swish(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    scaled = inputs[0] if len(inputs) == 1 else made.add("Mul", inputs, f"{name}/scaled")
    gate = made.add("Sigmoid", [scaled], f"{name}/gate")
    made.add("Mul", [inputs[0], gate], name)


def _hard_sigmoid(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("HardSigmoid", inputs, name, alpha=1 / 6, beta=0.5)


def _gelu(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    is_exact = str(node.get_attributes().get("approximation_mode", "ERF")).upper() == "ERF"
    made.add("Gelu", inputs, name, approximate="none" if is_exact else "tanh")


def _convert(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    types = import_onnx().TensorProto
    known = {"f32": types.FLOAT, "f16": types.FLOAT16, "i64": types.INT64, "i32": types.INT64}
    kind = node.get_attributes()["destination_type"]
    if kind not in known:
        raise _unknown(node)
    made.add("Cast", inputs, name, to=known[kind])


def _reduce(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add(node.get_type_name(), inputs, name, keepdims=int(node.get_attributes()["keep_dims"]))


def _pad(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    mode = node.get_attributes()["pad_mode"]
    if mode not in ("constant", "edge", "reflect"):
        raise _unknown(node)
    pads = made.constant(f"{name}/pads", np.array([*_integers(node, 1), *_integers(node, 2)], np.int64))
    made.add("Pad", [inputs[0], pads, *inputs[3:]], name, mode=mode)


def _reshape(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    """Where the first axis is the batch of one, it becomes "as it comes"."""
    if node.input_value(1).get_node().get_type_name() != "Constant":
        made.add("Reshape", inputs, name, allowzero=int(not node.get_attributes()["special_zero"]))
        return
    target = _integers(node, 1)
    if made.is_batch(inputs[0]) and target[0] == 1 and list(node.input(0).get_shape())[:1] == [1]:
        target[0] = 0
    made.add("Reshape", [inputs[0], made.constant(f"{name}/target", np.array(target, np.int64))], name)


def _transpose(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("Transpose", inputs[:1], name, perm=_integers(node, 1))


def _concat(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("Concat", inputs, name, axis=int(node.get_attributes()["axis"]))


def _gather(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("Gather", inputs[:2], name, axis=_integers(node, 2)[0])


def _softmax(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    made.add("Softmax", inputs, name, axis=int(node.get_attributes()["axis"]))


def _slice(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    data, starts, stops, steps, *axes = inputs
    made.add("Slice", [data, starts, stops, *(axes or [""]), steps], name)


def _broadcast(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    if node.get_attributes()["mode"] != "numpy":
        raise _unknown(node)
    made.add("Expand", inputs, name)


def _matmul(made: Translation, node: Any, inputs: list[str], name: str) -> None:
    told, sides = node.get_attributes(), []
    for index, side in enumerate(("transpose_a", "transpose_b")):
        rank = len(node.input(index).get_partial_shape())
        swapped = [*range(rank - 2), rank - 1, rank - 2]
        is_swapped = told[side] and rank > 1
        sides.append(
            made.add("Transpose", [inputs[index]], f"{name}/{side}", perm=swapped) if is_swapped else inputs[index]
        )
    made.add("MatMul", sides, name)


_OWN: dict[str, Rule] = {
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
    """Return the package `onnx`; raises SetupError where it is not installed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise SetupError(
            "--device cuda and onnx need ONNX: pip install 'verger[gpu]' (or 'verger[onnx]')"
        ) from error
    return onnx
