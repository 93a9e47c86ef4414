"""Parts `chain` and `notebook`: `verger features` against the bare kernel, `verger run` against a notebook."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import N_ROUNDS, Line, say, spread, time_command, time_verger
from benchmarks.photos import Bench
from verger.kernel.networks.catalog import NetworkSpec

N_KERNEL_PHOTOS = 2060
MODEL = ("--model", NetworkSpec.model)
_LIKE_NOTEBOOK = ("--components", "100", "--standardize", "--no-report")


def measure_chain(bench: Bench) -> list[Line]:
    """Measure the speed of the whole process as a share of the bare kernel's, on both engines."""
    return [
        *_features(bench.test, 4120, bench.folder, 0.82),
        *_features(bench.training, 16480, bench.folder, 0.93),
        *_features(bench.training, 16480, bench.folder, 0.86, "--master", "local[2]"),
    ]


def _features(photos: Path, n_photos: int, folder: Path, target: float, *engine: str) -> list[Line]:
    """Time `verger features` from cold; the bare kernel is measured before and after each run."""
    command = ("features", photos, folder / f"features-{n_photos}", *MODEL, *engine, "--overwrite", "--no-report")
    ours, ratios, kernels = [], [], [_kernel(photos)]
    for _ in range(N_ROUNDS):
        speed = n_photos / time_verger(*command)
        kernels.append(_kernel(photos))
        ours.append(speed)
        ratios.append(speed / statistics.mean(kernels[-2:]))
    name = " ".join(("verger features", *engine))
    kernel, share = statistics.median(kernels), statistics.median(ratios)
    return [
        Line(f"bare kernel, before and after the runs of {n_photos:,} photos", f"{kernel:.0f} img/s"),
        Line(f"`{name}` from cold, {n_photos:,} photos", f"{statistics.median(ours):.0f} img/s"),
        Line("share of the bare kernel's speed", f"{share:.2f} ({spread(ratios)})", f">= {target}"),
    ]


def _kernel(photos: Path) -> float:
    """Return the bare kernel's photos per second.

    Measured in a separate process: one that had also imported Spark was 10 % slower.
    """
    command = [sys.executable, "-m", "benchmarks.kernel", str(photos), str(N_KERNEL_PHOTOS)]
    found = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
    say(f"bare kernel {found:.0f} img/s")
    return found


def measure_notebook(bench: Bench) -> list[Line]:
    """Measure the whole chain, including scale + PCA, against the chain of a typical notebook, both from cold."""
    ours_s = time_verger("run", bench.test, bench.folder / "run", *MODEL, *_LIKE_NOTEBOOK)
    command = [sys.executable, "-m", "benchmarks.notebook_chain", str(bench.test), str(bench.folder / "notebook")]
    notebook_s = time_command(command)
    return [
        Line("`verger run` from cold, 4,120 photos", f"{ours_s:.0f} s"),
        Line("notebook chain, the same photos", f"{notebook_s:.0f} s"),
        Line("speed-up", f"{notebook_s / ours_s:.1f}", ">= 6"),
    ]
