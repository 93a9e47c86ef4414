"""make bench-serve: the service under load, beside the bare kernel in the same run.

    python -m benchmarks.serve [--classifier NAME] [--seconds 30]

An open loop (vegeta) sends single photos at 1 a second, and at 0.5, 1 and 4 times the capacity. The capacity is the
rate that the service reaches if eight clients send without a pause. The bare kernel decodes and computes the same
photos: one a second in one process, and without pauses in one process for each core.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from tests.support.service import running_service

from benchmarks.measure import cpu_name, say
from verger.kernel.classifier.classifier import BUNDLED, classifier_path, load_classifier
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.learn.predict import prepare_classifier_network
from verger.sample import SampleOptions, render_sample

RESULTS = Path(__file__).with_name("serve.md")
VEGETA = "github.com/tsenart/vegeta/v12@v12.12.0"
_DEADLINE_S = 2
_DEADLINE = ("--deadline-s", str(_DEADLINE_S))
_N_CLIENTS, _N_ROUNDS = 8, 3
_N_REQUESTS, _GROWTH_RATE = 10_000, 50  # of the measurement of memory; a second
_BATCH, _N_CALLS = 8, 80
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Load:
    """The answers under one load: seconds of those with status 200, and of those that were refused."""

    name: str
    rate: float
    seconds: float
    answered_s: np.ndarray[tuple[int], np.dtype[np.float64]]
    refused_s: np.ndarray[tuple[int], np.dtype[np.float64]]
    n_failed: int


def main(classifier: str, seconds: int, photos: list[bytes]) -> None:
    """Measure the kernel and the service; print the table and write it to benchmarks/serve.md."""
    vegeta, n_cores = find_vegeta(), len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="verger-bench-") as name,
        running_service(Path(name), *_DEADLINE, classifier=classifier) as service,
        ProcessPoolExecutor(n_cores) as kernel,
    ):
        targets = Path(name) / "targets"
        write_targets(targets, service.url, photos)
        kernel_speed(kernel, classifier, photos[:3])  # the processes load the network
        idle_mb = memory_mb(service.process.pid)
        single = [single_round(kernel, vegeta, targets, classifier, photos[:seconds]) for _ in range(_N_ROUNDS)]
        capacity = [capacity_round(kernel, vegeta, targets, classifier, photos, seconds) for _ in range(_N_ROUNDS)]
        rate = float(np.median([found for _, found in capacity]))
        rates = {"0.5 x": rate / 2, "1 x": rate, "4 x": rate * 4}
        loads = [single[-1].load]
        loads += [attack(vegeta, targets, load, max(1, round(value)), seconds) for load, value in rates.items()]
        memory = (idle_mb, memory_mb(service.process.pid))
    table = format_comparison(classifier, single, capacity, memory) + format_loads(loads)
    table += format_growth(*measure_growth(vegeta, photos)) + format_batching(measure_batching())
    RESULTS.write_text(table)
    print(table)


def find_vegeta() -> str:
    """Return the path of vegeta; install it with Go if it is not there."""
    folder = Path("build/bin").absolute()
    found = shutil.which("vegeta") or shutil.which("vegeta", path=str(folder))
    if found:
        return found
    go = shutil.which("go")
    if go is None:
        sys.exit("this benchmark needs vegeta, or Go to install it")
    subprocess.run([go, "install", VEGETA], env=os.environ | {"GOBIN": str(folder)}, check=True)
    return str(folder / "vegeta")


@dataclass(frozen=True)
class Single:
    """Single photos, one a second: the median seconds of the kernel, and the answers of the service."""

    kernel_s: float
    load: Load

    @property
    def service_s(self) -> float:
        """The median seconds of an answer."""
        return float(np.median(self.load.answered_s))


def single_round(
    kernel: ProcessPoolExecutor, vegeta: str, targets: Path, classifier: str, photos: list[bytes]
) -> Single:
    """Compute photos with the bare kernel, one a second, then send them to the service at the same rate."""
    alone = kernel.submit(featurize, classifier, photos, pause_s=1).result()
    return Single(float(np.median(alone)), attack(vegeta, targets, "1 a second", 1, len(photos)))


def capacity_round(
    kernel: ProcessPoolExecutor, vegeta: str, targets: Path, classifier: str, photos: list[bytes], seconds: int
) -> tuple[float, float]:
    """Return photos/s of the bare kernel on all cores, before and after the service's, and of the service."""
    before = kernel_speed(kernel, classifier, photos)
    load = attack(vegeta, targets, "capacity", 0, seconds)
    kernel_rate = (before + kernel_speed(kernel, classifier, photos)) / 2
    rate = len(load.answered_s) / load.seconds
    say(f"kernel {kernel_rate:.1f} photos/s, service {rate:.1f}")
    return kernel_rate, rate


def kernel_speed(kernel: ProcessPoolExecutor, classifier: str, photos: list[bytes]) -> float:
    """Return the photos/s of the bare kernel with one process a core."""
    n_processes = len(os.sched_getaffinity(0))
    start = time.perf_counter()
    for together in [kernel.submit(featurize, classifier, photos) for _ in range(n_processes)]:
        together.result()
    return n_processes * len(photos) / (time.perf_counter() - start)


def featurize(classifier: str, photos: list[bytes], pause_s: float = 0) -> list[float]:
    """Return the seconds of decoding and computing each photo, with a pause after each."""
    extractor, seconds = _extractor(classifier), []
    for photo in photos:
        start = time.perf_counter()
        featurize_photo(photo, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled")
        seconds.append(time.perf_counter() - start)
        time.sleep(pause_s)
    return seconds


@cache
def _extractor(classifier: str) -> Extractor:
    return Extractor(prepare_classifier_network(load_classifier(classifier_path(classifier))))


def measure_batching() -> list[tuple[str, float, float]]:
    """Return for each bundled classifier its network, and the photos/s of a thread with one and with 8 a call."""
    found = []
    for classifier in BUNDLED:
        network = prepare_classifier_network(load_classifier(classifier_path(classifier)))
        rates = []
        for batch_size in (1, _BATCH):
            extractor = Extractor(replace(network, batch_size=batch_size))
            blank = extractor.resizer.resize(Image.new("RGB", (1_000, 1_000)))
            calls = [timed(extractor, [blank] * batch_size) for _ in range(_N_CALLS // batch_size)]
            rates.append(batch_size / float(np.median(calls)))
        found.append((network.model, rates[0], rates[1]))
    return found


def timed(extractor: Extractor, views: list[Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    extractor.infer(views)
    return time.perf_counter() - start


def format_batching(found: list[tuple[str, float, float]]) -> str:
    """Return the sentences about batches as Markdown."""
    rates = [f"{model} {one:.1f} and {several:.1f}" for model, one, several in found]
    how = f"Photos/s of one thread, without decoding, with one photo and with {_BATCH} a call"
    return f"\n{how}: {'; '.join(rates)}.\n"


def write_targets(file: Path, url: str, photos: list[bytes]) -> None:
    """Write vegeta's targets: one request for each photo."""
    requests = [
        {
            "method": "POST",
            "url": f"{url}v1/identify",
            "header": {"Content-Type": ["image/jpeg"]},
            "body": base64.b64encode(photo).decode(),
        }
        for photo in photos
    ]
    file.write_text("\n".join(map(json.dumps, requests)) + "\n")


def attack(vegeta: str, targets: Path, name: str, rate: int, seconds: int) -> Load:
    """Send requests at a rate (0: as fast as _N_CLIENTS clients can), and return the answers."""
    say(f"load {name}: {rate or 'unlimited'} requests/s for {seconds} s")
    options = ["-format=json", f"-targets={targets}", f"-rate={rate}", f"-duration={seconds}s", "-timeout=60s"]
    if rate == 0:
        options += [f"-max-workers={_N_CLIENTS}"]
    sent = subprocess.run([vegeta, "attack", *options], check=True, capture_output=True).stdout
    text = subprocess.run([vegeta, "encode", "-to=csv"], input=sent, check=True, capture_output=True).stdout
    rows = [(int(row[1]), int(row[2]) / 1e9, int(row[0]) / 1e9) for row in csv.reader(StringIO(text.decode()))]
    ends = [at + latency_s for _, latency_s, at in rows]
    return Load(
        name,
        rate,
        max(ends) - min(at for *_, at in rows),
        np.array([latency_s for status, latency_s, _ in rows if status == 200]),
        np.array([latency_s for status, latency_s, _ in rows if status in (429, 503)]),
        sum(status not in (200, 429, 503) for status, *_ in rows),
    )


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children, in MB (PSS: shared pages count once)."""
    process = psutil.Process(pid)
    return sum(p.memory_full_info().pss for p in (process, *process.children(recursive=True))) / _MEGABYTE


def measure_growth(vegeta: str, photos: list[bytes]) -> tuple[float, float]:
    """Return a service's memory in MB, with fruitnet, after a tenth of the requests and after all of them."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="verger-bench-") as name,
        running_service(Path(name), *_DEADLINE) as service,
    ):
        targets = Path(name) / "targets"
        write_targets(targets, service.url, photos)
        for n_requests in (_N_REQUESTS // 10, _N_REQUESTS - _N_REQUESTS // 10):
            seconds = n_requests // _GROWTH_RATE
            load = attack(vegeta, targets, f"of {n_requests:,} requests", _GROWTH_RATE, seconds)
            if len(load.answered_s) < 0.99 * n_requests:
                sys.exit(f"only {len(load.answered_s):,} of {n_requests:,} requests were answered")
            found.append(memory_mb(service.process.pid))
    return found[0], found[1]


def format_growth(before_mb: float, after_mb: float) -> str:
    """Return the sentence about memory as Markdown."""
    return (
        f"\nMemory with fruitnet: {before_mb:.0f} MB after {_N_REQUESTS // 10:,} requests, {after_mb:.0f} MB after "
        f"{_N_REQUESTS:,}.\n"
    )


def format_comparison(
    classifier: str, single: list[Single], capacity: list[tuple[float, float]], memory_mb: tuple[float, float]
) -> str:
    """Return the comparison with the kernel as Markdown."""
    kernel_ms = float(np.median([one.kernel_s for one in single])) * 1e3
    service_ms = float(np.median([one.service_s for one in single])) * 1e3
    extra_ms = float(np.median([one.service_s - one.kernel_s for one in single])) * 1e3
    kernel_rate, rate = np.median(np.array(capacity), axis=0)
    shares = sorted(service / bare for bare, service in capacity)
    share = f"{np.median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})"
    return f"""# The service under load

`make bench-serve`, {cpu_name()}, {os.cpu_count()} cores, {classifier}, deadline {_DEADLINE_S} s.
vegeta sends single photos in an open loop from the same machine. The bare kernel computes the same photos from
memory, in the same run; medians of {_N_ROUNDS} alternating rounds.

| | kernel | service | |
|---|---|---|---|
| one photo a second, median | {kernel_ms:.0f} ms | {service_ms:.0f} ms | {extra_ms:.0f} ms more |
| as many as possible, all cores | {kernel_rate:.1f} photos/s | {rate:.1f} photos/s | {share} |

Memory of the service's processes: {memory_mb[0]:.0f} MB idle, {memory_mb[1]:.0f} MB after the loads.

"""


def format_loads(loads: list[Load]) -> str:
    """Return the table of the loads as Markdown."""
    lines = [
        "| load | requests/s | answered/s | p50 | p95 | p99 ms | refused | p50 | p99 ms | failed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for load in loads:
        answered = _percentiles(load.answered_s, (50, 95, 99))
        refused = _percentiles(load.refused_s, (50, 99))
        n_refused = len(load.refused_s)
        lines.append(
            f"| {load.name} | {load.rate:g} | {len(load.answered_s) / load.seconds:.1f} | {answered} "
            f"| {n_refused:,} | {refused} | {load.n_failed} |"
        )
    return "\n".join(lines) + "\n"


def _percentiles(seconds: np.ndarray[tuple[int], np.dtype[np.float64]], percents: tuple[int, ...]) -> str:
    if not len(seconds):
        return " | ".join("" for _ in percents)
    return " | ".join(f"{value * 1e3:.0f}" for value in np.percentile(seconds, percents))


def make_photos(folder: Path | None) -> list[bytes]:
    """Return 60 photos of a folder, or of `verger sample`."""
    with tempfile.TemporaryDirectory() as name:
        if folder is None:
            folder = Path(name)
            render_sample(folder, SampleOptions(per_kind=4, seed=7))
        paths = sorted(folder.rglob("*.jpg"))
        return [path.read_bytes() for path in paths[:: max(1, len(paths) // 60)][:60]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classifier", default="EfficientNetLite2")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; by default, renders of `verger sample`")
    chosen = parser.parse_args()
    main(chosen.classifier, chosen.seconds, make_photos(chosen.photos))
