"""Compare bf16 with float32: cosines of the vectors, and speed.

python -m benchmarks.precision FOLDER [N_PHOTOS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import prepare_network


def compare(paths: list[Path]) -> dict[str, float]:
    """Return the cosines between bf16 and float32 vectors, and bf16's relative speed, on one core."""
    photos = [path.read_bytes() for path in paths]
    vectors, spent = {}, {}
    for precision in ("f32", "bf16"):
        extractor = Extractor(prepare_network(NetworkSpec(precision=precision)))
        start = time.monotonic()
        found = [featurize_photo(photo, extractor, max_pixels=DEFAULT_MAX_PIXELS).features for photo in photos]
        spent[precision] = time.monotonic() - start
        vectors[precision] = np.array(found, np.float64)
    exact, fast = vectors["f32"], vectors["bf16"]
    cosines = (exact * fast).sum(1) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1))
    return {
        "mean": cosines.mean(),
        "1st percentile": np.percentile(cosines, 1),
        "lowest": cosines.min(),
        "speed": spent["f32"] / spent["bf16"],
    }


if __name__ == "__main__":
    step = 4120 // int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name, value in compare(sorted(Path(sys.argv[1]).rglob("*.jpg"))[::step]).items():
        print(f"{name}: {value:.4f}")
