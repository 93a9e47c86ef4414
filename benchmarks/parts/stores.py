"""Parts `store`, `packed` and `cluster`: S3 against disk, packed against loose, a cluster against one machine.

The store is S3Proxy on loopback. It shares the cores with verger; a real store is further away and has its own
cores. The network is fruitnet, so that the store's share of the time is large. Compared runs alternate, all
from cold.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support import s3proxy

from benchmarks.measure import Line, Seconds, against, alternate, time_verger
from benchmarks.parts.chain import MODEL
from benchmarks.photos import Bench

_FLAGS = ("--model", "fruitnet", "--no-report", "--overwrite")
_BUCKET = f"s3a://{s3proxy.BUCKET}"


def measure_store(bench: Bench) -> list[Line]:
    """Measure `verger run` from and to S3 against disk."""
    spent = time_store(bench.test, bench.folder / "store")
    speeds = (f"{4120 / statistics.median(spent[name]):.0f} img/s" for name in ("store", "local"))
    return [
        against("`verger run`, fruitnet, 4,120 photos: S3 against disk", spent, "store", "local"),
        Line("photos per second, including start and end", " against ".join(speeds)),
    ]


def measure_packed(bench: Bench) -> list[Line]:
    """Measure `verger features` on packed photos against loose ones, and count the requests of each."""
    folder = bench.folder / "packed"
    spent = time_packed(bench.test, folder)
    counted = count_requests(folder)
    requests = " against ".join(_requests(counted[src]) for src in ("packed", "photos"))
    what = "`verger features` from S3, fruitnet, 4,120 photos: packed against loose"
    return [against(what, spent, "packed", "loose"), Line("number of requests", requests)]


def _requests(counted: Counter[str]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in counted.most_common())


def measure_cluster(bench: Bench) -> list[Line]:
    """Measure `verger run` on a cluster of two workers against Spark in one process."""
    spent = time_cluster(bench.training, bench.folder / "cluster", *MODEL)
    what = "`verger run`, 16,480 photos: 2 workers with a core each against `local[2]`"
    return [against(what, spent, "cluster", "local", ">= 0.9")]


def time_store(photos: Path, folder: Path) -> Seconds:
    """Return the seconds of `verger run` from and to disk (local) and S3 (store)."""
    with s3proxy.serving(folder) as server:
        shutil.copytree(photos, server.folder / "photos", dirs_exist_ok=True)
        return alternate(
            local=lambda: time_verger("run", photos, folder / "out", *_FLAGS),
            store=lambda: time_verger("run", f"{_BUCKET}/photos", f"{_BUCKET}/out", *_FLAGS, **server.environment),
        )


def time_packed(photos: Path, folder: Path) -> Seconds:
    """Return the seconds of `verger features` from S3, of loose photos and of packed ones."""
    with s3proxy.serving(folder) as server:
        shutil.copytree(photos, server.folder / "photos", dirs_exist_ok=True)
        time_verger("pack", f"{_BUCKET}/photos", f"{_BUCKET}/packed", "--overwrite", **server.environment)

        def features(src: str) -> float:
            return time_verger("features", f"{_BUCKET}/{src}", folder / "out", *_FLAGS, **server.environment)

        return alternate(loose=lambda: features("photos"), packed=lambda: features("packed"))


def count_requests(folder: Path) -> dict[str, Counter[str]]:
    """Return the numbers of requests to the store, for the photos that `time_packed` has left there."""
    counted = {}
    for src in ("photos", "packed"):
        with s3proxy.serving(folder, logs_requests=True) as server:
            time_verger("features", f"{_BUCKET}/{src}", folder / "out", *_FLAGS, **server.environment)
            counted[src] = server.requests()
    return counted


def time_cluster(photos: Path, folder: Path, *network: str) -> Seconds:
    """Return the seconds of `verger run` on a cluster of two workers with one core each, and on two local cores.

    `network` should be slow: starting an executor takes some seconds even for a small run.
    """
    state = {"VERGER_STATE": str(folder / "cluster")}
    time_verger("cluster", "up", "--workers", "2", "--cores", "1", **state)
    try:
        master = _master(state)
        flags = (*network, "--no-report", "--overwrite")
        return alternate(
            local=lambda: time_verger("run", photos, folder / "out", *flags, "--master", "local[2]"),
            cluster=lambda: time_verger("run", photos, folder / "out", *flags, "--master", master, **state),
        )
    finally:
        time_verger("cluster", "down", **state)


def _master(state: dict[str, str]) -> str:
    command = [sys.executable, "-m", "verger", "cluster", "status", "--json"]
    status = subprocess.run(command, env=os.environ | state, capture_output=True, text=True, check=True).stdout
    return str(json.loads(status)["master"])
