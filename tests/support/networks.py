"""Small networks for tests that are not about networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

N_FEATURES = 4


def save_tiny_onnx(path: Path, size_px: int = 8) -> None:
    """Save a network of four features: fixed mixes of the colours, averaged over the picture."""
    mixes = np.random.default_rng(0).normal(size=(N_FEATURES, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "mixes"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, size_px, size_px])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", N_FEATURES])
    graph = helper.make_graph(nodes, "tiny", [pixels], [features], [numpy_helper.from_array(mixes, "mixes")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
