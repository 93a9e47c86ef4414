"""Conversion of a model to an OpenVINO inference graph; models of Keras and ONNX are converted in a child process.

    KERAS_BACKEND=openvino python -m verger.kernel.networks.convert SPEC_JSON FOLDER

Keras' OpenVINO backend exports the graph, without TensorFlow. Models are built channels-first if the architecture
allows it: MobileNetV2 then computes 214 photos per second and core. The channels-last graph computes only 60,
because it has 153 transposes and unfused batch norms.
"""

from __future__ import annotations

import json
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from verger.errors import WeightsError
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.efficientnet_lite import load_graph
from verger.kernel.networks.weights import WeightsSource, build_with_weights
from verger.storage.hashing import hash_file

_DEFAULT_SIZE_PX = 224  # for users' models with a variable input size
_DOWNLOAD_TIMEOUT_S = 60.0

# Per channel (x - mean) / scale; with "caffe", the channels are first reversed to BGR.
MEANS = {
    "tf": [127.5] * 3,
    "caffe": [103.939, 116.779, 123.68],
    "torch": [123.675, 116.28, 103.53],
    "lite": [127.0] * 3,
}
SCALES = {"tf": [127.5] * 3, "caffe": [1.0] * 3, "torch": [58.395, 57.12, 57.375], "lite": [128.0] * 3}


def stub_scipy() -> None:
    """Insert a stub for SciPy if it is not installed, so that Keras' OpenVINO backend can be imported.

    The backend uses SciPy (114 MB) for Fourier transforms only, which no network needs. Call this before Keras is
    imported.
    """
    if find_spec("scipy") is None:
        scipy, scipy.signal = ModuleType("scipy"), ModuleType("scipy.signal")  # type: ignore[attr-defined]
        sys.modules |= {"scipy": scipy, "scipy.signal": scipy.signal}


def convert(spec: NetworkSpec, folder: Path) -> None:
    """Write graph.xml, graph.bin and network.json for `spec` into `folder`."""
    graph, source = load_graph(spec) if spec.is_packaged else _convert_model(spec, folder)
    graph = add_preprocessing(_pooled(graph, spec), spec.effective_preprocessing)
    _save(graph, source, folder)


def _convert_model(spec: NetworkSpec, folder: Path) -> tuple[Any, WeightsSource]:
    """Convert a model of Keras or a user's file; this needs a process of its own."""
    stub_scipy()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    path = spec.user_graph
    if path is None:
        model, source = build_with_weights(spec)
        return export_keras(model, folder), source
    graph = _read_onnx(path) if path.endswith(".onnx") else export_keras(_load_keras(path), folder)
    return graph, WeightsSource(path, hash_file(Path(path)))


def _load_keras(path: str) -> Any:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises errors of many classes for damaged or unsuitable files
        raise WeightsError(f"{path!r} is not a model that Keras {keras.__version__} can load: {error}") from error
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or 3 not in (shape[1], shape[-1]):
        raise WeightsError(f"{path!r} takes {shape}: expected one RGB image, (batch, height, width, 3)")
    return model


def export_keras(model: Any, folder: Path) -> Any:
    """Export a Keras model (OpenVINO backend) as an OpenVINO graph for one photo, through files in `folder`."""
    import openvino as ov

    path = folder / "exported.xml"
    model.export(str(path), format="openvino", verbose=False)
    graph = ov.Core().read_model(str(path))
    graph.reshape(_static_shape(graph.input(0).partial_shape))
    return graph


def _read_onnx(path: str) -> Any:
    import openvino as ov

    try:
        graph = ov.Core().read_model(path)
    except RuntimeError as error:
        raise WeightsError(f"{path!r} is not an ONNX model that OpenVINO can read: {error}") from error
    shape = graph.input(0).partial_shape
    if len(graph.inputs) != 1 or shape.rank.is_dynamic or len(shape) != 4:
        raise WeightsError(f"{path!r} takes {[str(i) for i in graph.inputs]}: expected one RGB image")
    graph.reshape(_static_shape(shape))
    return graph


def _static_shape(shape: Any) -> list[int]:
    sizes = [-1 if size.is_dynamic else size.get_length() for size in shape]
    return [1, *(_DEFAULT_SIZE_PX if size < 0 else size for size in sizes[1:])]


def _layout(graph: Any) -> str:
    return "NCHW" if graph.input(0).shape[1] == 3 else "NHWC"


def _pooled(graph: Any, spec: NetworkSpec) -> Any:
    """Append pooling or flattening if the graph's output is feature maps; if it is vectors, change nothing."""
    import openvino as ov
    from openvino import opset13 as ops

    maps = graph.output(0)
    if len(maps.shape) == 2:
        return graph
    source = maps.get_node().input_value(0)
    if len(maps.shape) != 4:
        vector = ops.reshape(source, np.array([1, -1]), False)
    else:
        vector = _pool_maps(ops, source, spec.pooling, is_first=_layout(graph) == "NCHW")
    return ov.Model([ops.result(vector)], graph.get_parameters(), "pooled")


def _pool_maps(ops: Any, source: Any, pooling: str, *, is_first: bool) -> Any:
    axes = np.array([2, 3] if is_first else [1, 2])
    if pooling == "avg":
        return ops.reduce_mean(source, axes, False)
    if pooling == "max":
        return ops.reduce_max(source, axes, False)
    maps = ops.transpose(source, np.array([0, 2, 3, 1])) if is_first else source
    return ops.reshape(maps, np.array([1, -1]), False)


def add_preprocessing(graph: Any, preprocessing: str) -> Any:
    """Add preprocessing at the graph's input, which becomes (1, height, width, 3) uint8 RGB."""
    import openvino as ov
    from openvino.preprocess import ColorFormat, PrePostProcessor

    builder = PrePostProcessor(graph)
    pixels = builder.input()
    pixels.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    pixels.tensor().set_color_format(ColorFormat.RGB)
    steps = pixels.preprocess().convert_element_type(ov.Type.f32)
    if preprocessing == "caffe":
        steps = steps.convert_color(ColorFormat.BGR)
    if preprocessing != "none":
        steps.mean(MEANS[preprocessing]).scale(SCALES[preprocessing])
    pixels.model().set_layout(ov.Layout(_layout(graph)))
    builder.output().tensor().set_element_type(ov.Type.f32)
    return builder.build()


def _save(graph: Any, source: WeightsSource, folder: Path) -> None:
    import openvino as ov

    ov.serialize(graph, str(folder / "graph.xml"), str(folder / "graph.bin"))
    for temporary in folder.glob("exported.*"):
        temporary.unlink()
    _, height, width, _ = graph.input(0).shape
    about = {
        "size_px": [width, height],
        "n_features": graph.output(0).shape[1],
        "weights_from": source.weights_from,
        "weights_sha256": source.weights_sha256,
    }
    (folder / "network.json").write_text(json.dumps(about, indent=2))


def main() -> int:
    """Convert the network that the command line specifies; a WeightsError is printed as one line on stderr."""
    spec, folder = NetworkSpec(**json.loads(sys.argv[1])), Path(sys.argv[2])
    try:
        convert(spec, folder)
    except WeightsError as error:
        print("WeightsError: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
