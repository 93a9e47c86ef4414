"""Save and check what was trained, in a child process: python -m verger.learn.finetune.save TASK_JSON FOLDER.

Run with KERAS_BACKEND=openvino, which knows both layouts and converts to an inference graph.
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
from verger.learn.finetune.child import Teller
from verger.learn.finetune.extractor import LAYOUTS, Weights, build_extractor
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.outcome import MODEL, PARITY, SAMPLE, WEIGHTS
from verger.process.progress import Progress

_MIN_COSINE = 0.999  # below it something is wrong; 0.99999 is usual


def save_in(folder: Path, options: FinetuneOptions, progress: Progress) -> None:
    """Write model.keras from the trained weights, and parity.json from the sample.

    Channels-first where the architecture allows it. Raises VergerError where our chain, given the model, does
    not come to the vectors of the trained one.
    """
    with np.load(folder / WEIGHTS) as saved:
        weights: Weights = [saved[f"arr_{i}"] for i in range(len(saved.files))]
    _build(options, weights).save(folder / MODEL)
    parity = _compare(folder)
    (folder / PARITY).write_text(json.dumps(parity))
    if parity["min_cosine"] >= _MIN_COSINE:
        return
    told = f"{MODEL} does not give the trained model's vectors: cosine {parity['min_cosine']}"
    if not options.weights.startswith("random:"):
        raise VergerError(told)
    progress.note(f"{told}. Deep networks with random weights are that unstable")


def _build(options: FinetuneOptions, weights: Weights) -> Any:
    import keras

    for layout in LAYOUTS:
        try:
            return build_extractor(options, weights, layout)
        except (ValueError, NotImplementedError):
            if layout == LAYOUTS[-1]:
                raise
            keras.backend.clear_session()
    raise AssertionError("unreachable")


def _compare(folder: Path) -> dict[str, float]:
    """Return the cosines of our chain's vectors to the trained model's, on photos it was not trained on."""
    convert(NetworkSpec(model=str(folder / MODEL)), folder)
    extractor = Extractor(read_network(folder, MODEL, "f32"))
    with np.load(folder / SAMPLE) as sample:
        theirs, ours = sample["features"], [extractor(pixels) for pixels in sample["pixels"]]
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (np.array(ours) * theirs).sum(axis=1) / np.maximum(lengths, 1e-12)
    return {
        "n_checked": len(cosines),
        "min_cosine": round(float(cosines.min()), 7),
        "mean_cosine": round(float(cosines.mean()), 7),
    }


def main() -> int:
    """Save as the command line says."""
    teller = Teller()
    return teller.run(lambda values, folder: save_in(folder, FinetuneOptions(**values), teller))


if __name__ == "__main__":
    sys.exit(main())
