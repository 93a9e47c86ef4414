"""make soak-scale: measure whether speed and memory stay flat when a run has many photos.

    python -m benchmarks.scale FOLDER [N_PHOTOS [ENGINE]]

A run on many photos is compared with runs on few photos before and after it. The many are Fruits-360's training
photos, repeated, each with a unique JPEG comment, so that no two files have the same bytes. They take 1.3 GB of
FOLDER and are removed at the end. The machine may be shared, so the table also shows the processor time per
photo of the run's own processes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil

from benchmarks.measure import cpu_name
from benchmarks.photos import unpack
from benchmarks.processes import KINDS, sample_processes
from verger.kernel.networks.catalog import FRUITNET

RESULTS = Path(__file__).with_name("scale.md")
N_PHOTOS = 200_000
N_ROUNDS = 1  # of the few, before and after

_EVERY_S = 1.0
_TEMP_EVERY = 10
_START_OF_IMAGE = b"\xff\xd8"


@dataclass
class Watched:
    """Measurements of a run: manifest, wall-clock and processor seconds, memory and temporary bytes over time."""

    manifest: dict[str, Any] = field(default_factory=dict)
    clock_s: float = 0
    busy_s: float = 0  # of all processors, for all processes
    own_s: dict[int, float] = field(default_factory=dict)  # of processors, by process of the run
    at_s: list[float] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    temp_mb: list[float] = field(default_factory=list)

    @property
    def n_photos(self) -> int:
        """Number of listed photos."""
        return int(self.manifest["counts"]["listed"])

    @property
    def processor_ms(self) -> float:
        """Processor milliseconds per photo, all processes of the run together."""
        return 1000 * sum(self.own_s.values()) / self.n_photos

    @property
    def others(self) -> float:
        """Number of processors that other programs used during the run."""
        return (self.busy_s - sum(self.own_s.values())) / self.clock_s

    def growth_mb(self, kind: str) -> float:
        """Return the growth of memory per 100,000 photos, fitted over the second half of the featurize stage."""
        spent = self.manifest["timings_s"]
        end = sum(spent[stage] for stage in ("list", "convert", "featurize"))
        times, held = np.array(self.at_s), np.array(self.memory_mb[kind])
        is_second_half = (times > end - spent["featurize"] / 2) & (times < end)
        slope = np.polyfit(times[is_second_half], held[is_second_half], 1)[0]
        return float(slope * 100_000 / self.manifest["photos_per_s"])


def main(folder: Path, n_photos: int = N_PHOTOS, engine: str = "local") -> None:
    """Run few, many, few photos; print the table and write it to benchmarks/scale.md."""
    folder.mkdir(parents=True, exist_ok=True)
    few, many = unpack("training", folder) / "Training", folder / "many"
    try:
        multiply(few, many, n_photos)
        before = [watch(few, folder, engine) for _ in range(N_ROUNDS)]
        found = watch(many, folder, engine)
        after = [watch(few, folder, engine) for _ in range(N_ROUNDS)]
    finally:
        shutil.rmtree(many, ignore_errors=True)
        shutil.rmtree(few.parent, ignore_errors=True)
    table = _table(found, [*before, *after])
    RESULTS.write_text(table)
    print(table)


def multiply(few: Path, many: Path, n_photos: int) -> None:
    """Write `n_photos` files in folders by label, no two with the same bytes."""
    originals = sorted(few.glob("*/*.jpg"))
    for serial in range(n_photos):
        original = originals[serial % len(originals)]
        # The serial comes first: neighbours with equal vectors would make the Parquet files unrealistically small.
        path = many / original.parent.name / f"{serial:06d}-{original.stem}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(with_comment(original.read_bytes(), f"{serial:06d}" + " " * (serial % 64)))


def with_comment(jpeg: bytes, text: str) -> bytes:
    """Return the same picture with different bytes: a comment segment is inserted after its first marker."""
    assert jpeg.startswith(_START_OF_IMAGE)
    comment = text.encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return _START_OF_IMAGE + segment + jpeg[len(_START_OF_IMAGE) :]


def watch(photos: Path, folder: Path, engine: str) -> Watched:
    """Run the chain and sample its processes and temporary files every second."""
    out, watched = folder / "out", Watched()
    with tempfile.TemporaryDirectory(dir=folder, prefix="temp-") as temp:
        command = ["run", str(photos), str(out), "--model", FRUITNET, "--engine", engine, "--json"]
        if engine == "spark":
            command += ["--conf", f"spark.local.dir={temp}"]
        busy, start = _busy_s(), time.monotonic()
        run = subprocess.Popen(
            [sys.executable, "-m", "verger", *command, "--overwrite"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": temp},
        )
        while run.poll() is None:
            watched.at_s.append(time.monotonic() - start)
            _sample(watched, run.pid)
            if len(watched.at_s) % _TEMP_EVERY == 1:
                watched.temp_mb.append(sum(map(_size_mb, (Path(temp), folder / ".out.verger-staging"))))
            time.sleep(_EVERY_S)
        watched.clock_s, watched.busy_s = time.monotonic() - start, _busy_s() - busy
        assert run.stdout is not None
        assert run.returncode == 0, "the run failed"
        watched.manifest = json.load(run.stdout)
    shutil.rmtree(out)
    print(_summary(watched), file=sys.stderr, flush=True)
    return watched


def _sample(watched: Watched, pid: int) -> None:
    held, own_s = sample_processes(pid)
    watched.own_s |= own_s
    for kind, mb in held.items():
        watched.memory_mb[kind].append(mb)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _size_mb(folder: Path) -> float:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total / 1e6


def _summary(run: Watched) -> str:
    speed = f"{run.manifest['photos_per_s']:.0f} img/s featurizing, {run.n_photos / run.clock_s:.0f} in all"
    return f"{run.n_photos:,} photos: {speed}, {run.processor_ms:.2f} ms of processor each, others {run.others:.2f}"


def _table(many: Watched, few: list[Watched]) -> str:
    engine = many.manifest["settings"]["engine"]
    lines = [
        f"Engine: {engine}. Measured {time.strftime('%Y-%m-%d')} on {len(os.sched_getaffinity(0))} cores of "
        f"{cpu_name()}. The {few[0].n_photos:,} photos were processed {N_ROUNDS} x before and {N_ROUNDS} x after "
        f"the {many.n_photos:,}: their column shows means, with the range in brackets.",
        "",
        f"| | {few[0].n_photos:,} photos | {many.n_photos:,} photos | ratio |",
        "|---|---|---|---|",
    ]
    spent = [[run.manifest["timings_s"] for run in runs] for runs in (few, [many])]
    rows = {
        "featurize stage, img/s": ([run.manifest["photos_per_s"] for run in few], many.manifest["photos_per_s"]),
        "whole run from cold, img/s": ([r.n_photos / r.clock_s for r in few], many.n_photos / many.clock_s),
        "processor time per photo, ms": ([run.processor_ms for run in few], many.processor_ms),
        "processors used by other programs": ([run.others for run in few], many.others),
    }
    for stage in spent[1][0]:
        rows[f"{stage}, s"] = ([run[stage] for run in spent[0]], spent[1][0][stage])
    for what, (values, value) in rows.items():
        own = f"{mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"
        lines.append(f"| {what} | {own} | {value:.4g} | {value / mean(values):.2f} |")
    peaks_of = f"peak, {few[0].n_photos:,} photos | peak, {many.n_photos:,} photos"
    lines += ["", f"| memory, MB (PSS) | {peaks_of} | growth per 100,000 photos |", "|---|---|---|---|"]
    for kind in KINDS:
        peaks = max(max(run.memory_mb[kind]) for run in few), max(many.memory_mb[kind])
        lines.append(f"| {kind} | {peaks[0]:.0f} | {peaks[1]:.0f} | {many.growth_mb(kind):+.1f} |")
    temps = max(max(run.temp_mb) for run in few), max(many.temp_mb)
    lines.append(f"| temporary files and the staged result, on disk | {temps[0]:,.0f} | {temps[1]:,.0f} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2] if len(sys.argv) > 2 else N_PHOTOS), *sys.argv[3:4])
