"""What a run holds in memory, whatever it is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.events import ENGINES
from tests.support.memory import peaks_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MAX_WORKER_MB = 600
MAX_DRIVER_GROWTH_MB = 60


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_worker_stays_small_whatever_the_photos(engine: str, tmp_path: Path) -> None:
    """Twelve megapixels each, 36 MB unpacked, all in one folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        shades = Image.fromarray(rng.integers(0, 256, (750, 1000, 3), np.uint8))
        shades.resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.jpg", quality=90)
    for i in range(4, 200):
        os.link(folder / f"{i % 4:03d}.jpg", folder / f"{i:03d}.jpg")
    network = ("--model", "MobileNetV2", "--weights", "random:0")
    peaks = peaks_of("features", folder, "out", *network, *ENGINES[engine], "--no-report", cwd=tmp_path)
    assert 0 < peaks.worker < MAX_WORKER_MB
    assert (peaks.java > 0) == (engine == "spark")


def link_photos(photos: Path, folder: Path, n: int) -> None:
    """Many photos of few bytes: names cost memory too."""
    originals = sorted(photos.glob("*/[0-9].*"))
    for i in range(n):
        place = folder / f"{i // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(originals[i % len(originals)], place / f"{i:06d}{originals[i % len(originals)].suffix}")


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_driver_does_not_grow_with_the_photos(
    engine: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    flags = ("--model", tiny_model, *ENGINES[engine], "--no-report")
    peaks = {}
    for n in (1_000, 100_000):
        link_photos(photos, tmp_path / f"{n}", n)
        peaks[n] = peaks_of("features", f"{n}", f"out-{n}", *flags, cwd=tmp_path)
    assert peaks[100_000].driver - peaks[1_000].driver < MAX_DRIVER_GROWTH_MB
