"""Compare exact and scaled decoding of photos of 12 megapixels, for each set of views: photos/s per core, cosines.

    python -m benchmarks.camera [N_PHOTOS]

The photos are mosaics of 4,000 x 3,000 pixels: real photos from shops (grocery-trainval.tar, 348 x 348 pixels)
at their native scale, overlapping by 24 faded pixels, as JPEG of quality 92 with colours at half the resolution
(4:2:0), 3.4 MB each. Per pixel they have at least as much detail as a camera's photos, but they show a hundred
objects at once.
"""

from __future__ import annotations

import io
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import CPU, prepare_network_on
from verger.kernel.networks.inference import DecodeMode, Extractor, Vector, featurize_photo
from verger.kernel.networks.view_sets import VIEW_SETS

DATA = Path(__file__).parents[2] / "shared" / "data"
MODELS = ("MobileNetV2", "fruitnet")
WIDTH, HEIGHT = 4000, 3000
QUALITY = 92

_SEED = 12
_N_TILES = 300
_TILE = 348
_FADE = 24


@dataclass(frozen=True)
class Comparison:
    """Photos per second and core with exact and scaled decoding, and the cosines of their vectors."""

    exact_per_s: float
    scaled_per_s: float
    cosine_mean: float
    cosine_lowest: float


def make_camera_photos(folder: Path, n_photos: int) -> None:
    """Write `n_photos` different JPEGs of 12 megapixels into the folder; the photos are reproducible."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles = _tiles()
    for number in range(n_photos):
        mosaic = _mosaic(tiles, random.Random(_SEED + number))
        mosaic.save(folder / f"camera_{number:04d}.jpg", quality=QUALITY, subsampling="4:2:0")


def _tiles() -> list[Image.Image]:
    """Return square pieces of real photos."""
    with tarfile.open(DATA / "grocery-trainval.tar") as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".jpg"))
        chosen = random.Random(_SEED).sample(names, _N_TILES)
        files = [tar.extractfile(name) for name in chosen]
        photos = [Image.open(io.BytesIO(file.read())).convert("RGB") for file in files if file]
    return [photo.crop((0, 0, _TILE, _TILE)) for photo in photos]


def _mosaic(tiles: Sequence[Image.Image], rng: random.Random) -> Image.Image:
    """Paste tiles from left to right and top to bottom, overlapping with faded left and upper edges."""
    mosaic = Image.new("RGB", (WIDTH, HEIGHT))
    ramp = np.minimum(np.arange(_TILE) * 255 // _FADE, 255)
    fade = Image.fromarray(np.minimum(ramp[:, None], ramp[None]).astype(np.uint8))
    step = _TILE - _FADE
    for y in range(-_FADE, HEIGHT, step):
        for x in range(-_FADE, WIDTH, step):
            mosaic.paste(rng.choice(tiles), (x, y), fade)
    return mosaic


def compare(photos: Sequence[bytes], model: str, views: str) -> Comparison:
    """Featurize each photo with both ways of decoding, alternating, on this core."""
    extractor = Extractor(prepare_network_on(NetworkSpec(model, views=views), CPU, batch_size=1))
    featurize_photo(photos[0], extractor, max_pixels=DEFAULT_MAX_PIXELS)
    modes: tuple[DecodeMode, ...] = ("exact", "scaled")
    spent_s = dict.fromkeys(modes, 0.0)
    cosines = []
    for photo in photos:
        vectors = []
        for mode in modes:
            start = time.process_time()
            result = featurize_photo(photo, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode=mode)
            spent_s[mode] += time.process_time() - start
            vectors.append(result.features)
        cosines.append(_cosine(*vectors))
    exact_per_s, scaled_per_s = (len(photos) / spent_s[mode] for mode in modes)
    return Comparison(exact_per_s, scaled_per_s, float(np.mean(cosines)), min(cosines))


def _cosine(one: Vector, other: Vector) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def main() -> None:
    """Print a line per network and set of views."""
    n_photos = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory(prefix="verger-camera-") as name:
        make_camera_photos(Path(name), n_photos)
        photos = [path.read_bytes() for path in sorted(Path(name).iterdir())]
    for model, views in product(MODELS, VIEW_SETS):
        found = compare(photos, model, views)
        print(
            f"{model}, views {views}: exact {found.exact_per_s:.1f} photos/s per core, "
            f"scaled {found.scaled_per_s:.1f} ({found.scaled_per_s / found.exact_per_s:.1f} times); "
            f"cosine mean {found.cosine_mean:.5f}, lowest {found.cosine_lowest:.5f}"
        )


if __name__ == "__main__":
    main()
