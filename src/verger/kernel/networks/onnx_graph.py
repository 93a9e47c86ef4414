"""Translate a network's OpenVINO graph to ONNX, for ONNX Runtime; docs/adr/0007-onnx-for-gpus.md says why.

The graph is the one that OpenVINO computes with, preprocessing and pooling in it: an operation becomes its ONNX
counterpart, and the batch, which is 1 there, is left open. What comes out is compared with OpenVINO before it is
kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from verger.errors import SetupError, WeightsError
from verger.kernel.networks.inference import OpenVinoSession
from verger.kernel.networks.network import Graph
from verger.kernel.networks.onnx_operations import FEATURES, PIXELS, Translation, import_onnx
from verger.kernel.networks.onnx_session import OnnxSession
from verger.storage.atomic import write_atomically
from verger.storage.cache import cache_dir

# Raise when the translation changes: what earlier ones have left in the cache is then not used.
_TRANSLATION_VERSION = 1
_OPSET, _IR_VERSION = 20, 9  # the first with Gelu; ONNX Runtime 1.17 and newer read it
_LOWEST_COSINE = 0.9999
_N_CHECKED = 5


def with_onnx(graph: Graph) -> Graph:
    """Return the graph with its ONNX form, from the cache or translated; raises SetupError, WeightsError."""
    kept = cache_dir() / "onnx" / f"{_content_key(graph)}.onnx"
    if kept.is_file():
        return replace(graph, onnx=kept.read_bytes())
    translated = replace(graph, onnx=translate(graph))
    _check_parity(translated)
    with write_atomically(kept) as beside:
        beside.write_bytes(translated.onnx)
    return translated


def translate(graph: Graph) -> bytes:
    """Return an ONNX model: (batch, height, width, 3) uint8 RGB in, (batch, n_features) float32 out."""
    onnx = import_onnx()
    import openvino as ov
    from openvino.passes import ConstantFolding, Manager

    source = ov.Core().read_model(model=graph.xml, weights=graph.weights)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(source)  # axes that an own model computes become numbers
    width, height = graph.size_px
    translation = Translation()
    for node in source.get_ordered_ops():
        translation.translate(node)
    pixels = onnx.helper.make_tensor_value_info(PIXELS, onnx.TensorProto.UINT8, ["batch", height, width, 3])
    vectors = onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, ["batch", graph.n_features])
    used = {name for node in translation.nodes for name in node.input}  # others have become attributes
    constants = [constant for constant in translation.constants if constant.name in used]
    made = onnx.helper.make_graph(translation.nodes, "verger", [pixels], [vectors], initializer=constants)
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=_IR_VERSION, producer_name="verger")
    told: bytes = model.SerializeToString()
    return told


def _check_parity(graph: Graph) -> None:
    """Compare the two forms on a few pictures, one by one and as one batch; raises WeightsError.

    By the median: a wrong translation is wrong for every picture, while a network of random weights may turn a
    rounding into another vector for a single one.
    """
    width, height = graph.size_px
    coarse = np.random.default_rng(0).integers(0, 256, (_N_CHECKED, 8, 8, 3), np.uint8)
    pixels = coarse.repeat(-(-height // 8), 1).repeat(-(-width // 8), 2)[:, :height, :width]
    expected = OpenVinoSession(graph, "f32")(pixels).astype(np.float64)
    try:
        found = OnnxSession(graph, "onnx", batch_size=_N_CHECKED)(pixels).astype(np.float64)
    except SetupError:
        raise
    except Exception as error:  # onnxruntime's, of many classes
        raise WeightsError(f"ONNX Runtime cannot compute the translated network: {error}") from error
    cosine = (expected * found).sum(1) / (np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1))
    if not np.median(cosine) >= _LOWEST_COSINE:
        raise WeightsError(
            f"translated to ONNX the network gives other vectors (cosine {np.median(cosine):.6f} to OpenVINO's, "
            f"{_LOWEST_COSINE} needed): use --device cpu"
        )


def _content_key(graph: Graph) -> str:
    digest = hashlib.sha256(f"{_TRANSLATION_VERSION} {_OPSET}".encode())
    digest.update(graph.xml)
    digest.update(graph.weights)
    return digest.hexdigest()[:32]
