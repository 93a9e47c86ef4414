"""Measure how many photos a core processes in a second, for `verger cost --calibrate`."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from verger.cloud.pricing.calibration import Calibration
from verger.engine.local.local_options import available_cores
from verger.errors import CloudError
from verger.pipeline import chain
from verger.pipeline.context import FEATURES, LISTING
from verger.process.progress import Progress, SilentProgress
from verger.settings import load_settings
from verger.storage.manifest import Manifest

PHOTOS_PER_CORE = 500  # MobileNetV2 needs a few seconds for this number
_ROUNDS = 2  # only the fastest round counts, because other programs may slow down a round
_MIN_DIFFERENCE_S = 0.5
_LOAD_INTERVAL_S, _BUSY_PERCENT = 0.5, 25
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class RunTime:
    """The number of photos of a run, and the seconds of its featurize stage."""

    n_photos: int
    seconds: float


def measure_speed(src: str, model: str, limit: int | None, progress: Progress) -> Calibration:
    """Compute features for a small and for a larger number of photos of `src`; return the speed of one core.

    The start-up takes the same time in both runs, so it does not count in the difference. Before, one run is made
    whose time is not used. limit: the larger number of photos; None: PHOTOS_PER_CORE for each core.
    """
    settings = load_settings(model=model, report=False, engine="local")
    if (busy := psutil.cpu_percent(interval=_LOAD_INTERVAL_S)) > _BUSY_PERCENT:
        progress.note(f"other programs use this machine ({busy:.0f} %): the measured speed will be too low")
    n_cores = available_cores()
    with tempfile.TemporaryDirectory(prefix="verger-calibrate-") as name:
        n_many = limit or PHOTOS_PER_CORE * n_cores
        n_few = max(1, n_many // 4)
        out = Path(name) / "out"

        def run(n_photos: int) -> Manifest:
            progress.stage(f"calibrate: {n_photos} photos")
            chosen = settings.model_copy(update={"limit": n_photos, "overwrite": True})
            return chain.features(src, out, chosen, SilentProgress())

        run(n_few)
        rounds = [(run(n_few), run(n_many)) for _ in range(_ROUNDS)]
        speed = photos_per_s(_fastest(few for few, _ in rounds), _fastest(many for _, many in rounds), progress)
        return _calibration(rounds[-1][1], out, speed, n_cores)


def photos_per_s(few: RunTime, many: RunTime, progress: Progress) -> float:
    """Return the photos per second, from the difference of two runs. If the times hardly differ, it is too low."""
    n_photos, seconds = many.n_photos - few.n_photos, many.seconds - few.seconds
    if n_photos > 0 and seconds >= _MIN_DIFFERENCE_S:
        return n_photos / seconds
    progress.note("too few photos to separate the work from the start-up: the measured speed is too low")
    return many.n_photos / many.seconds


def _fastest(runs: Iterable[Manifest]) -> RunTime:
    times = [RunTime(int(run.counts["listed"]), run.timings_s["featurize"]) for run in runs]
    return min(times, key=lambda time: time.seconds)


def _calibration(manifest: Manifest, out: Path, speed: float, n_cores: int) -> Calibration:
    listed = pq.read_table(out / LISTING, columns=["length"])["length"].to_pylist()
    table = pq.read_table(out / FEATURES, columns=["width", "height"]).to_pydict()
    pixels = [width * height for width, height in zip(table["width"], table["height"], strict=True)]
    network = manifest.network or {}
    if not pixels:
        raise CloudError(f"{manifest.source}: no photo could be read; `verger features` shows why")
    return Calibration(
        model=str(network["model"]),
        photos_per_core_s=round(speed / n_cores, 1),
        n_features=int(network["n_features"]),
        mean_bytes=round(sum(listed) / len(listed)),
        mean_megapixels=round(sum(pixels) / len(pixels) / 1e6, 4),
        processor=_processor(),
        cores=n_cores,
        date=datetime.now(UTC).date(),
        verger=manifest.verger,
        note=f"measured on {len(listed)} photos of {manifest.source}",
    )


def _processor() -> str:
    """Return the name of the processor from /proc/cpuinfo; if the name is missing, the processor's architecture."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
