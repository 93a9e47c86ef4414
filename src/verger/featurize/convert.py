"""Convert a Keras or ONNX model to an OpenVINO inference graph; runs in a process of its own.

    KERAS_BACKEND=openvino python -m verger.featurize.convert SPEC_JSON FOLDER

TensorFlow is never needed: Keras' OpenVINO backend exports the graph. Built channels-first where the
architecture allows it, for channels-last exports 153 transposes and batch norms that do not fuse (60
photos a second and core against 214, MobileNetV2).
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlretrieve

import numpy as np

from verger.errors import WeightsError
from verger.featurize.catalog import CATALOG, IMAGENET, NetworkSpec
from verger.places import file_sha256, keras_home

_DEFAULT_SIZE_PX = 224  # for own models that leave their input size open
_DOWNLOAD_TIMEOUT_S = 60.0

# (x - mean) / scale a channel, after the channels are reversed where is_bgr.
MEANS = {"tf": [127.5] * 3, "caffe": [103.939, 116.779, 123.68], "torch": [123.675, 116.28, 103.53]}
SCALES = {"tf": [127.5] * 3, "caffe": [1.0] * 3, "torch": [58.395, 57.12, 57.375]}


@dataclass(frozen=True)
class _Source:
    weights_from: str
    weights_sha256: str


def convert(spec: NetworkSpec, folder: Path) -> None:
    """Write graph.xml, graph.bin and network.json for `spec` into `folder`."""
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    own = spec.own_graph
    if own is not None:
        source = _Source(own, file_sha256(Path(own)))
        graph = _read_onnx(own) if own.endswith(".onnx") else export_keras(_load_keras(spec, own), folder)
    else:
        model, source = build_with_weights(spec)
        graph = export_keras(model, folder)
    graph = with_pixels_in(_pooled(graph, spec), spec.effective_preprocessing)
    _save(graph, source, folder)


def build(spec: NetworkSpec) -> Any:
    """Return the catalog architecture as a Keras model without weights, channels-first where it can be."""
    import keras

    for data_format in ("channels_first", "channels_last"):
        keras.backend.set_image_data_format(data_format)
        try:
            return _build(spec, data_format, weights=None)
        except (ValueError, NotImplementedError):
            if data_format == "channels_last":
                raise
            keras.backend.clear_session()
    raise AssertionError("unreachable")


def _build(spec: NetworkSpec, data_format: str, weights: str | None) -> Any:
    import keras

    size = CATALOG[spec.model].size_px
    is_first = data_format == "channels_first"
    model = getattr(keras.applications, spec.model)(
        include_top=False,
        weights=weights,
        input_shape=(3, size, size) if is_first else (size, size, 3),
        pooling=None if spec.pooling == "flatten" else spec.pooling,
    )
    if spec.pooling != "flatten":
        return model
    maps = keras.layers.Permute((2, 3, 1))(model.output) if is_first else model.output
    return keras.Model(model.input, keras.layers.Flatten(data_format="channels_last")(maps))


def build_with_weights(spec: NetworkSpec) -> tuple[Any, _Source]:
    """Return the catalog architecture with the weights asked for, and where they are from; raises WeightsError."""
    model = build(spec)
    if spec.effective_weights == IMAGENET:
        return _with_imagenet(spec)
    weights = spec.effective_weights
    if weights.startswith("random:"):
        seed_weights(model, int(weights.removeprefix("random:")))
        return model, _Source(weights, _weights_sha256(model))
    path = Path(weights)
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise OSError, ValueError, KeyError, TypeError, ...
        raise WeightsError(f"weights = {weights!r} do not fit {spec.model} without its top: {error}") from error
    return model, _Source(weights, file_sha256(path))


def _with_imagenet(spec: NetworkSpec) -> tuple[Any, _Source]:
    import keras

    used: list[str] = []
    _remember_files(used)
    try:
        model = _build(spec, keras.backend.image_data_format(), weights="imagenet")
    except (URLError, OSError, ValueError) as error:
        # Keras wraps a failed download in a plain Exception whose words name the address.
        raise WeightsError(_no_imagenet(spec.model, error)) from error
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise WeightsError(_no_imagenet(spec.model, error)) from error
    return model, _Source(f"imagenet ({Path(used[-1]).name})", file_sha256(Path(used[-1])))


def _remember_files(used: list[str]) -> None:
    """Note in `used` the path of every file that Keras fetches, as a whole, or finds in its cache."""
    from keras.src.utils import file_utils

    get_file = file_utils.get_file

    def get_and_note(*args: Any, **kwargs: Any) -> str:
        path = str(get_file(*args, **kwargs))
        used.append(path)
        return path

    file_utils.get_file = get_and_note
    file_utils.urlretrieve = _fetch_whole


def _fetch_whole(origin: str, target: str, *more: Any) -> None:
    """Fetch a file as urlretrieve does, but name it `target` only when all of it is there.

    Keras fetches into the file itself and clears up after exceptions only: what a killed process leaves it would
    take for the weights ever after.
    """
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=Path(target).parent) as scratch:
        part = Path(scratch) / "part"
        urlretrieve(origin, part, *more)  # noqa: S310  # the addresses are Keras' own
        part.replace(target)


def _no_imagenet(model: str, error: Exception) -> str:
    return (
        f"no ImageNet weights for {model}: not in Keras' cache ({keras_home() / 'models'}) and the download failed "
        f"({error}). Either connect to the internet once, or put the file there (or point KERAS_HOME at a "
        "folder whose models/ holds it), or choose --weights PATH, or --weights random:0 to try the chain"
    )


def seed_weights(model: Any, seed: int) -> None:
    """Set a Keras model's weights from `seed`, the same on every backend and data format.

    Kernels are He-normal (He et al. 2015, arXiv:1502.01852), wider where the activation is SiLU, which halves
    small signals: the features must still depend on the photo at the end of a deep network. Everything else
    stays near what Keras starts from, but moved, so that a batch norm left out would be seen.
    """
    rng = np.random.default_rng(seed)
    activations = {getattr(getattr(layer, "activation", None), "__name__", "") for layer in model.layers}
    gain = 4.0 if "silu" in activations else 2.0
    model.set_weights([_seeded(rng, np.asarray(start), gain) for start in model.get_weights()])


def _seeded(rng: np.random.Generator, start: np.ndarray, gain: float) -> np.ndarray:
    if not np.issubdtype(start.dtype, np.floating):
        return start
    if start.ndim >= 2:
        is_depthwise = start.ndim == 4 and start.shape[-1] == 1
        fan_in = np.prod(start.shape[:2]) if is_depthwise else np.prod(start.shape[:-1])
        return rng.normal(0.0, np.sqrt(gain / fan_in), start.shape).astype(start.dtype)
    return (start + rng.uniform(-0.1, 0.1, start.shape)).astype(start.dtype)


def _load_keras(spec: NetworkSpec, path: str) -> Any:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever a damaged or foreign archive makes Keras stumble on
        raise WeightsError(f"{path!r} is not a model that Keras {keras.__version__} can load: {error}") from error
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or 3 not in (shape[1], shape[-1]):
        raise WeightsError(f"{path!r} takes {shape}: expected one RGB image, (batch, height, width, 3)")
    return model


def export_keras(model: Any, folder: Path) -> Any:
    """Return a Keras model (of the OpenVINO backend) as an OpenVINO graph for one photo; writes into `folder`."""
    import openvino as ov

    path = folder / "exported.xml"
    model.export(str(path), format="openvino", verbose=False)
    graph = ov.Core().read_model(str(path))
    graph.reshape(_closed(graph.input(0).partial_shape))
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
    graph.reshape(_closed(shape))
    return graph


def _closed(shape: Any) -> list[int]:
    sizes = [-1 if size.is_dynamic else size.get_length() for size in shape]
    return [1, *(_DEFAULT_SIZE_PX if size < 0 else size for size in sizes[1:])]


def _layout(graph: Any) -> str:
    return "NCHW" if graph.input(0).shape[1] == 3 else "NHWC"


def _pooled(graph: Any, spec: NetworkSpec) -> Any:
    """Pool or flatten an own graph that ends in feature maps; one that ends in vectors stays as it is."""
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


def with_pixels_in(graph: Any, preprocessing: str) -> Any:
    """Make the graph take (1, height, width, 3) uint8 RGB and do its own preprocessing."""
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


def _save(graph: Any, source: _Source, folder: Path) -> None:
    import openvino as ov

    ov.serialize(graph, str(folder / "graph.xml"), str(folder / "graph.bin"))
    for left_over in folder.glob("exported.*"):
        left_over.unlink()
    _, height, width, _ = graph.input(0).shape
    about = {
        "size_px": [width, height],
        "n_features": graph.output(0).shape[1],
        "weights_from": source.weights_from,
        "weights_sha256": source.weights_sha256,
    }
    (folder / "network.json").write_text(json.dumps(about, indent=2))


def _weights_sha256(model: Any) -> str:
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def main() -> int:
    """Convert as the command line says; a WeightsError becomes one line on stderr."""
    spec, folder = NetworkSpec(**json.loads(sys.argv[1])), Path(sys.argv[2])
    try:
        convert(spec, folder)
    except WeightsError as error:
        print("WeightsError: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
