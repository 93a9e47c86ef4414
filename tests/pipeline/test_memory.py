"""What a run holds in memory, whatever it is given."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.support.chain import descendants, start_verger
from tests.support.events import ENGINES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MAX_WORKER_MB = 600
MAX_DRIVER_GROWTH_MB = 60

_EVERY_S = 0.1


@dataclass
class Peaks:
    """Peak resident memory in MB."""

    driver: float = 0
    worker: float = 0
    java: float = 0


def peaks_of(*words: object, cwd: Path) -> Peaks:
    """Run a command and watch its processes to the end."""
    run = start_verger(*words, "--json", cwd=cwd)
    peaks = Peaks()
    while run.poll() is None:
        peaks.driver = max(peaks.driver, resident_mb(psutil.Process(run.pid)))
        for process in descendants(run.pid):
            command = command_of(process)
            if "verger.engine.local.worker" in command or "pyspark.daemon" in command:
                peaks.worker = max(peaks.worker, resident_mb(process))
            elif "org.apache.spark" in command:
                peaks.java = max(peaks.java, resident_mb(process))
        time.sleep(_EVERY_S)
    _, said = run.communicate()
    assert run.returncode == 0, said
    print(f"\npeaks in MB: {peaks}")
    return peaks


def resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        return 0


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


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
