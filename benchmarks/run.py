"""make bench: every speed that the README names, measured in one go.

The machine may be shared and is never twice the same: what counts are the ratios, taken between runs that
stand next to each other. Prints a table a part, and leaves it in benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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


class Bench:
    """Where the parts work: a folder that is gone afterwards, and photos, unpacked when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def test(self) -> Path:
        """Fruits-360's test photos, 4,120 of them."""
        return unpack("test", self.folder) / "Test"

    @cached_property
    def training(self) -> Path:
        """Fruits-360's training photos, 16,480 of them."""
        return unpack("training", self.folder) / "Training"


def main() -> None:
    """Measure the parts that are named, or all; print the table of each as it comes, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    if not imagenet_file().is_file():
        sys.exit("make bench needs MobileNetV2's ImageNet weights: see `verger doctor`")
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as name:
        bench = Bench(Path(name))
        for part in parts:
            table = _table(PARTS[part](bench))
            keep(part, table, RESULTS)
            print(f"## {part}\n\n{table}", flush=True)


def keep(part: str, table: str, results: Path) -> None:
    """Put the table of a part in its place in the file, and leave the others as they are."""
    sections = _sections(results.read_text()) if results.is_file() else {}
    sections[part] = table
    known = [name for name in PARTS if name in sections]
    results.write_text("\n".join(f"## {name}\n\n{sections[name]}" for name in known))


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (\w+)\n\n", text, flags=re.MULTILINE)[1:]
    return {name: table.strip() + "\n" for name, table in zip(parts[::2], parts[1::2], strict=True)}


def unpack(split: str, folder: Path) -> Path:
    """Unpack Fruits-360's "training" or "test" photos; return the folder that holds Training or Test."""
    with tarfile.open(DATA / f"fruits360-{split}.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fruits360"


def _chain(bench: Bench) -> list[Line]:
    few = _features(bench.test, 4120, bench.folder, 0.65)
    return few + _features(bench.training, 16480, bench.folder, 0.85)


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


def _seed_style(bench: Bench) -> list[Line]:
    """The whole chain, scale + PCA included, both from cold on the same photos."""
    photos = str(bench.test)
    ours = _time_cli("run", photos, str(bench.folder / "run"), *_MODEL, *_AS_SEED)
    seed = _time([sys.executable, "-m", "benchmarks.seed_style", photos, str(bench.folder / "seed")])
    return [
        Line("`verger run` from cold, 4,120 photos", f"{ours:.0f} s"),
        Line("seed-style chain, the same photos", f"{seed:.0f} s"),
        Line("our factor over it", f"{seed / ours:.1f}", ">= 8"),
    ]


def _reduction(bench: Bench) -> list[Line]:
    features = bench.folder / "features-16480"
    if not features.is_dir():  # the chain's own
        _time_cli("features", str(bench.training), str(features), *_MODEL, "--no-report")
    found = time_reduction(features / "features")
    _say(f"reduction: ours {found.ours_s:.2f} s, Spark ML {found.spark_ml_s:.2f} s")
    return [
        Line(f"scale + PCA fit, {found.n_vectors:,} x 1,280: ours", f"{found.ours_s:.2f} s"),
        Line("the same by Spark ML's StandardScaler + PCA", f"{found.spark_ml_s:.2f} s"),
        Line("our factor over it", f"{found.factor:.1f}", ">= 8"),
    ]


def _store(bench: Bench) -> list[Line]:
    spent = time_store(bench.test, bench.folder / "store")
    speeds = (f"{4120 / statistics.median(spent[name]):.0f} img/s" for name in ("store", "local"))
    return [
        _against("`verger run`, fruitnet, 4,120 photos: S3 against disk", spent, "store", "local"),
        Line("the same in photos, start and end included", " against ".join(speeds)),
    ]


def _packed(bench: Bench) -> list[Line]:
    folder = bench.folder / "packed"
    spent = time_packed(bench.test, folder)
    asked = count_requests(folder)
    requests = " against ".join(_requests(asked[src]) for src in ("packed", "photos"))
    return [
        _against(
            "`verger features` from S3, fruitnet, 4,120 photos: packed against loose", spent, "packed", "loose"
        ),
        Line("requests for that", requests),
    ]


def _listing(bench: Bench) -> list[Line]:
    found = time_listing()
    return [
        Line(
            f"a flat folder of {N_OBJECTS:,} objects listed, {LATENCY_S * 1000:.0f} ms an answer",
            f"{found.side_by_side_s:.1f} s, {found.n_requests} requests; "
            f"one after another {found.chain_s:.1f} s, {found.n_pages}",
        )
    ]


def _cluster(bench: Bench) -> list[Line]:
    spent = time_cluster(bench.training, bench.folder / "cluster", *_MODEL)
    what = "`verger run`, 16,480 photos: 2 workers with a core each against `local[2]`"
    return [_against(what, spent, "cluster", "here", ">= 0.9")]


def _against(what: str, spent: Seconds, ours: str, other: str, target: str = "") -> Line:
    """Two speeds, and the median of their ratios, round by round."""
    ratios = [its / own for own, its in zip(spent[ours], spent[other], strict=True)]
    ours_s, other_s = statistics.median(spent[ours]), statistics.median(spent[other])
    speed = f"{statistics.median(ratios):.2f} ({_spread(ratios)}): {ours_s:.1f} s against {other_s:.1f} s"
    return Line(what, speed, target)


def _requests(counted: Counter[str]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in counted.most_common())


def _resume(bench: Bench) -> list[Line]:
    """One photo in a hundred is new: what that costs beyond starting and ending."""
    found = time_resume(
        bench.training, bench.folder / "resume", lambda *words: _time_cli(*map(str, words), *_MODEL), N_ROUNDS
    )
    share = (found.resumed_s - found.start_s) / found.full_s
    return [
        Line("`verger run` from cold, 16,480 photos", f"{found.full_s:.0f} s"),
        Line("the same with `--resume`, one photo in a hundred new", f"{found.resumed_s:.1f} s"),
        Line("the same on two photos: start and end", f"{found.start_s:.1f} s"),
        Line("what is left of it, of a full run", f"{share:.1%}", "< 5 %"),
    ]


PARTS: dict[str, Callable[[Bench], list[Line]]] = {
    "chain": _chain,
    "seed": _seed_style,
    "reduction": _reduction,
    "store": _store,
    "packed": _packed,
    "listing": _listing,
    "cluster": _cluster,
    "resume": _resume,
}


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
