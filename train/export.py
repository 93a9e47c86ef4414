"""Export a trained fruitnet into the package.

    python -m train.export WORK/all [FOLDER]

Weights are stored in half precision; the network computes in float32.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).parent.parent / "src" / "verger" / "models" / "fruitnet"
_LOWEST_COSINE = 0.9995  # between features of half-precision weights and of the trained ones


def export(stage: Path, folder: Path) -> None:
    """Write graph.xml, graph.bin and network.json; raises AssertionError where they differ too much."""
    os.environ["KERAS_BACKEND"] = "openvino"
    import openvino as ov

    from train.network import build_backbone
    from verger.kernel.networks import convert

    with np.load(stage / "backbone.npz") as saved:
        weights = [saved[name] for name in sorted(saved.files) if name.startswith("weight_")]
        views, features = saved["views"], saved["features"]
    size_px = views.shape[1]
    backbone = build_backbone(size_px, is_channels_first=True)
    backbone.set_weights(weights)
    with tempfile.TemporaryDirectory() as temporary:
        graph = convert.add_preprocessing(convert.export_keras(backbone, Path(temporary)), "tf")
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(graph, str(folder / "graph.xml"), compress_to_fp16=True)
    about = {
        "size_px": [size_px, size_px],
        "n_features": features.shape[1],
        "weights_from": "bundled",
        "weights_sha256": hashlib.sha256((folder / "graph.bin").read_bytes()).hexdigest(),
    }
    (folder / "network.json").write_text(json.dumps(about, indent=2) + "\n")
    _check(folder, views, features)


def _check(folder: Path, views: Any, features: Any) -> None:
    from verger.kernel.networks.inference import Extractor
    from verger.kernel.networks.network import read_network

    extractor = Extractor(read_network(folder, "fruitnet", "f32"))
    ours = np.stack([extractor(view) for view in views])
    cosine = (ours * features).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(features, axis=1)
    print(f"lowest cosine to the trained network: {cosine.min():.6f}")
    assert cosine.min() >= _LOWEST_COSINE


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PACKAGE)
