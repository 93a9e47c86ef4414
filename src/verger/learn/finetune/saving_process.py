"""The child process that saves and checks the trained model.

    KERAS_BACKEND=openvino python -m verger.learn.finetune.saving_process OPTIONS_JSON FOLDER

The OpenVINO backend supports both data layouts (channels_first, channels_last), and converts models to graphs for
inference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from verger.errors import VergerError
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.convert import convert
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import read_network
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.keras_extractor import Weights, build_extractor
from verger.learn.finetune.keras_process import run_as_child
from verger.learn.finetune.training_outcome import MODEL, PARITY, SAMPLE, WEIGHTS
from verger.process.progress import Progress

_MIN_COSINE = 0.999  # a lower value means that the conversion is wrong; 0.99999 is typical


def save_model(folder: Path, options: FinetuneOptions, progress: Progress) -> None:
    """Write model.keras with the trained weights, and parity.json with the comparison of the sample's vectors.

    The layout is channels_first if the architecture supports it. Raises VergerError if verger's inference with the
    saved model gives other vectors than the trained model.
    """
    with np.load(folder / WEIGHTS) as saved:
        weights: Weights = [saved[f"arr_{i}"] for i in range(len(saved.files))]
    _build_in_fastest_layout(options, weights).save(folder / MODEL)
    parity = _compare_vectors(folder)
    (folder / PARITY).write_text(json.dumps(parity))
    if parity["min_cosine"] >= _MIN_COSINE:
        return
    message = f"{MODEL} gives other vectors than the trained model: cosine {parity['min_cosine']}"
    if not options.weights.startswith("random:"):
        raise VergerError(message)
    progress.note(f"{message}; this is normal for deep networks that start from random weights")


def _build_in_fastest_layout(options: FinetuneOptions, weights: Weights) -> Any:
    import keras

    try:
        return build_extractor(options, weights, "channels_first")
    except (ValueError, NotImplementedError):  # some architectures do not support channels_first
        keras.backend.clear_session()
        return build_extractor(options, weights, "channels_last")


def _compare_vectors(folder: Path) -> dict[str, float]:
    """Return the cosines between vectors of verger's inference and of the trained model, on the sample."""
    convert(NetworkSpec(model=str(folder / MODEL)), folder)
    extractor = Extractor(read_network(folder, MODEL, "f32"))
    with np.load(folder / SAMPLE) as sample:
        expected, vectors = sample["features"], [extractor(pixels) for pixels in sample["pixels"]]
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (np.array(vectors) * expected).sum(axis=1) / np.maximum(lengths, 1e-12)
    return {
        "n_checked": len(cosines),
        "min_cosine": round(float(cosines.min()), 7),
        "mean_cosine": round(float(cosines.mean()), 7),
    }


if __name__ == "__main__":
    sys.exit(run_as_child(save_model))
