"""make bench: every speed that the README names, measured in one go.

The machine may be shared and is never twice the same: what counts are the ratios, taken between runs that
stand next to each other. Prints a table, and leaves it in benchmarks/results.md.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.listing import LATENCY_S, N_OBJECTS, time_listing
from benchmarks.reduction import time_reduction
from benchmarks.resume import time_resume
from benchmarks.stores import Seconds, count_requests, time_cluster, time_packed, time_store
from verger.featurize.catalog import NetworkSpec
from verger.featurize.network import imagenet_file
from verger.manifest import software_versions

DATA = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).with_name("results.md")
N_ROUNDS = 3
N_KERNEL_PHOTOS = 2060
_MODEL = ("--model", NetworkSpec.model)
_AS_SEED = ("--components", "100", "--standardize", "--no-report")


@dataclass(frozen=True)
class Line:
    """One line of the table; a target is what the project asks of itself."""

    what: str
    value: str
    target: str = ""


def main() -> None:
    """Run everything and print the table."""
    if not imagenet_file().is_file():
        sys.exit("make bench needs MobileNetV2's ImageNet weights: see `verger doctor`")
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as name:
        folder = Path(name)
        test = unpack("test", folder) / "Test"
        training = unpack("training", folder) / "Training"
        lines = [*_features(test, 4120, folder, 0.65), *_features(training, 16480, folder, 0.85)]
        lines += _seed_style(test, folder)
        lines += _reduction(folder / "features-16480" / "features")
        lines += [*_store(test, folder / "store"), *_listing(), *_cluster(test, folder / "cluster")]
        lines += _resume(training, folder / "resume")
    table = _table(lines)
    RESULTS.write_text(table)
    print(table)


def unpack(split: str, folder: Path) -> Path:
    """Unpack Fruits-360's "training" or "test" photos; return the folder that holds Training or Test."""
    with tarfile.open(DATA / f"fruits360-{split}.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fruits360"


def _features(photos: Path, n_photos: int, folder: Path, target: float) -> list[Line]:
    """`verger features` from cold against the bare kernel, which is measured before and after each run."""
    out = folder / f"features-{n_photos}"
    ours, ratios, kernels = [], [], [_kernel(photos)]
    for _ in range(N_ROUNDS):
        speed = n_photos / _time_cli("features", str(photos), str(out), *_MODEL, "--overwrite", "--no-report")
        kernels.append(_kernel(photos))
        ours.append(speed)
        ratios.append(speed / statistics.mean(kernels[-2:]))
    return [
        Line(f"bare kernel around the runs of {n_photos:,} photos", f"{statistics.median(kernels):.0f} img/s"),
        Line(f"`verger features` from cold, {n_photos:,} photos", f"{statistics.median(ours):.0f} img/s"),
        Line(
            "its share of the bare kernel", f"{statistics.median(ratios):.2f} ({_spread(ratios)})", f">= {target}"
        ),
    ]


def _kernel(photos: Path) -> float:
    """A process of its own: one that has imported Spark's side too measured 10 % less."""
    command = [sys.executable, "-m", "benchmarks.kernel", str(photos), str(N_KERNEL_PHOTOS)]
    found = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
    _say(f"bare kernel {found:.0f} img/s")
    return found


def _seed_style(photos: Path, folder: Path) -> list[Line]:
    """The whole chain, scale + PCA included, both from cold on the same photos."""
    ours = _time_cli("run", str(photos), str(folder / "run"), *_MODEL, *_AS_SEED)
    seed = _time([sys.executable, "-m", "benchmarks.seed_style", str(photos), str(folder / "seed")])
    return [
        Line("`verger run` from cold, 4,120 photos", f"{ours:.0f} s"),
        Line("seed-style chain, the same photos", f"{seed:.0f} s"),
        Line("our factor over it", f"{seed / ours:.1f}", ">= 8"),
    ]


def _reduction(features: Path) -> list[Line]:
    found = time_reduction(features)
    _say(f"reduction: ours {found.ours_s:.2f} s, Spark ML {found.spark_ml_s:.2f} s")
    return [
        Line(f"scale + PCA fit, {found.n_vectors:,} x 1,280: ours", f"{found.ours_s:.2f} s"),
        Line("the same by Spark ML's StandardScaler + PCA", f"{found.spark_ml_s:.2f} s"),
        Line("our factor over it", f"{found.factor:.1f}", ">= 8"),
    ]


def _store(photos: Path, folder: Path) -> list[Line]:
    """From and to S3, and what packing saves there."""
    spent = time_store(photos, folder / "run")
    packed = time_packed(photos, folder / "packed")
    asked = count_requests(folder / "packed")
    requests = " against ".join(_requests(asked[src]) for src in ("packed", "photos"))
    return [
        _against("`verger run`, fruitnet, 4,120 photos: S3 against disk", spent, "store", "local"),
        _against("`verger features` from S3: packed against loose photos", packed, "packed", "loose"),
        Line("requests for that", requests),
    ]


def _listing() -> list[Line]:
    found = time_listing()
    return [
        Line(
            f"a flat folder of {N_OBJECTS:,} objects listed, {LATENCY_S * 1000:.0f} ms an answer",
            f"{found.side_by_side_s:.1f} s, {found.n_requests} requests; "
            f"one after another {found.chain_s:.1f} s, {found.n_pages}",
        )
    ]


def _cluster(photos: Path, folder: Path) -> list[Line]:
    spent = time_cluster(photos, folder)
    return [
        _against("`verger run`, 2 workers with a core each against `local[2]`", spent, "cluster", "here", ">= 0.9")
    ]


def _against(what: str, spent: Seconds, ours: str, other: str, target: str = "") -> Line:
    """Two speeds, and the median of their ratios, round by round."""
    ratios = [its / own for own, its in zip(spent[ours], spent[other], strict=True)]
    ours_s, other_s = statistics.median(spent[ours]), statistics.median(spent[other])
    speed = f"{statistics.median(ratios):.2f} ({_spread(ratios)}): {ours_s:.1f} s against {other_s:.1f} s"
    return Line(what, speed, target)


def _requests(counted: Counter[str]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in counted.most_common())


def _resume(photos: Path, folder: Path) -> list[Line]:
    """One photo in a hundred is new: what that costs beyond starting and ending."""
    found = time_resume(photos, folder, lambda *words: _time_cli(*map(str, words), *_MODEL), N_ROUNDS)
    share = (found.resumed_s - found.start_s) / found.full_s
    return [
        Line("`verger run` from cold, 16,480 photos", f"{found.full_s:.0f} s"),
        Line("the same with `--resume`, one photo in a hundred new", f"{found.resumed_s:.1f} s"),
        Line("the same on two photos: start and end", f"{found.start_s:.1f} s"),
        Line("what is left of it, of a full run", f"{share:.1%}", "< 5 %"),
    ]


def _time_cli(*arguments: str) -> float:
    return _time([sys.executable, "-m", "verger", *arguments])


def _time(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spent = time.monotonic() - start
    _say(f"{spent:6.1f} s  {' '.join(command[2:4])}")
    return spent


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _table(lines: list[Line]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    n_cores = len(os.sched_getaffinity(0))
    head = [
        f"Measured {time.strftime('%Y-%m-%d')} on {n_cores} cores of {cpu_name()}; {versions}.",
        f"Medians of {N_ROUNDS} runs; trust the ratios.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *(f"| {line.what} | {line.value} | {line.target} |" for line in lines)]) + "\n"


def cpu_name() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
