"""Translation of a network's OpenVINO graph to ONNX, for ONNX Runtime (docs/adr/0007-onnx-for-gpus.md).

The graph includes preprocessing and pooling. Each operation is replaced by the equal operation of ONNX. The batch
size is 1 in the OpenVINO graph and variable in the ONNX model. Before the ONNX model is cached, its vectors are
compared with those of OpenVINO.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from verger.errors import SetupError, WeightsError
from verger.kernel.networks.network import Graph
from verger.kernel.networks.onnx_operations import FEATURES, PIXELS, Translation, import_onnx
from verger.kernel.networks.onnx_session import OnnxSession
from verger.kernel.networks.openvino_session import OpenVinoSession
from verger.storage.atomic import write_atomically
from verger.storage.cache import cache_dir

# Increase this number when the translation changes: then older cache entries are not used.
_TRANSLATION_VERSION = 1
_OPSET, _IR_VERSION = 20, 9  # opset 20 is the first with Gelu; needs ONNX Runtime 1.17
_LOWEST_COSINE = 0.9999
_N_CHECKED = 5


def add_onnx(graph: Graph) -> Graph:
    """Return the graph with its ONNX model added, cached or translated now; raises SetupError, WeightsError."""
    cached = cache_dir() / "onnx" / f"{_content_key(graph)}.onnx"
    if cached.is_file():
        return replace(graph, onnx=cached.read_bytes())
    translated = replace(graph, onnx=translate(graph))
    _check_parity(translated)
    with write_atomically(cached) as beside:
        beside.write_bytes(translated.onnx)
    return translated


def translate(graph: Graph) -> bytes:
    """Translate to an ONNX model: (batch, height, width, 3) uint8 RGB in, (batch, n_features) float32 out."""
    onnx = import_onnx()
    import openvino as ov
    from openvino.passes import ConstantFolding, Manager

    source = ov.Core().read_model(model=graph.xml, weights=graph.weights)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(source)  # if a user's model computes axes, they become constants
    width, height = graph.size_px
    translation = Translation()
    for node in source.get_ordered_ops():
        translation.translate(node)
    pixels = onnx.helper.make_tensor_value_info(PIXELS, onnx.TensorProto.UINT8, ["batch", height, width, 3])
    vectors = onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, ["batch", graph.n_features])
    used = {name for node in translation.nodes for name in node.input}  # other constants became attributes
    constants = [constant for constant in translation.constants if constant.name in used]
    onnx_graph = onnx.helper.make_graph(translation.nodes, "verger", [pixels], [vectors], initializer=constants)
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(onnx_graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="verger")
    serialized: bytes = model.SerializeToString()
    return serialized


def _check_parity(graph: Graph) -> None:
    """Compare the ONNX model with OpenVINO on a few pictures; raises WeightsError if the vectors differ.

    The median of the cosines is checked: a wrong translation changes the vectors of all pictures, but with random
    weights, rounding alone may change the vector of one picture.
    """
    width, height = graph.size_px
    coarse = np.random.default_rng(0).integers(0, 256, (_N_CHECKED, 8, 8, 3), np.uint8)
    pixels = coarse.repeat(-(-height // 8), 1).repeat(-(-width // 8), 2)[:, :height, :width]
    expected = OpenVinoSession(graph, "f32")(pixels).astype(np.float64)
    try:
        actual = OnnxSession(graph, "onnx", batch_size=_N_CHECKED)(pixels).astype(np.float64)
    except SetupError:
        raise
    except Exception as error:  # onnxruntime raises errors of many classes
        raise WeightsError(f"ONNX Runtime cannot compute the translated network: {error}") from error
    cosine = (expected * actual).sum(1) / (np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1))
    if not np.median(cosine) >= _LOWEST_COSINE:
        raise WeightsError(
            "the network translated to ONNX computes different vectors: the cosine to OpenVINO's is "
            f"{np.median(cosine):.6f}, but must be at least {_LOWEST_COSINE}. Use --device cpu"
        )


def _content_key(graph: Graph) -> str:
    digest = hashlib.sha256(f"{_TRANSLATION_VERSION} {_OPSET}".encode())
    digest.update(graph.xml)
    digest.update(graph.weights)
    return digest.hexdigest()[:32]
