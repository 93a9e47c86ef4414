"""What a store and a cluster cost: the same photos from S3 and from disk, packed and loose, on a cluster and here.

The store is S3Proxy on loopback, a process that shares the cores with verger: a real store is further away, and
has cores of its own. Its network is fruitnet, so that there is little else to wait for. Runs that are compared
stand next to each other, all from cold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import s3proxy

N_ROUNDS = 3
_FLAGS = ("--model", "fruitnet", "--no-report", "--overwrite")
_BUCKET = f"s3a://{s3proxy.BUCKET}"

Seconds = dict[str, list[float]]


def time_store(photos: Path, folder: Path) -> Seconds:
    """Return the seconds of `verger run` from and to disk (local) and S3 (store)."""
    with s3proxy.serving(folder) as server:
        shutil.copytree(photos, server.folder / "photos", dirs_exist_ok=True)
        return _in_turn(
            local=lambda: _verger("run", photos, folder / "out", *_FLAGS),
            store=lambda: _verger("run", f"{_BUCKET}/photos", f"{_BUCKET}/out", *_FLAGS, **server.environment),
        )


def time_packed(photos: Path, folder: Path) -> Seconds:
    """Return the seconds of `verger features` from S3, of loose photos and of packed ones."""
    with s3proxy.serving(folder) as server:
        shutil.copytree(photos, server.folder / "photos", dirs_exist_ok=True)
        _verger("pack", f"{_BUCKET}/photos", f"{_BUCKET}/packed", "--overwrite", **server.environment)

        def features(src: str) -> float:
            return _verger("features", f"{_BUCKET}/{src}", folder / "out", *_FLAGS, **server.environment)

        return _in_turn(loose=lambda: features("photos"), packed=lambda: features("packed"))


def count_requests(folder: Path) -> dict[str, Counter[str]]:
    """Return what is asked of the store for the photos that `time_packed` has left there."""
    counted = {}
    for src in ("photos", "packed"):
        with s3proxy.serving(folder, logs_requests=True) as server:
            _verger("features", f"{_BUCKET}/{src}", folder / "out", *_FLAGS, **server.environment)
            counted[src] = server.requests()
    return counted


def time_cluster(photos: Path, folder: Path, *network: str) -> Seconds:
    """Return the seconds of `verger run` on a cluster of two workers with a core each, and on two cores here.

    By a `network` that takes its time: an executor's start is some seconds, whatever there is to do.
    """
    state = {"VERGER_STATE": str(folder / "cluster")}
    _verger("cluster", "up", "--workers", "2", "--cores", "1", **state)
    try:
        master = _master(state)
        flags = (*network, "--no-report", "--overwrite")
        return _in_turn(
            here=lambda: _verger("run", photos, folder / "out", *flags, "--master", "local[2]"),
            cluster=lambda: _verger("run", photos, folder / "out", *flags, "--master", master, **state),
        )
    finally:
        _verger("cluster", "down", **state)


def _in_turn(**runs: Callable[[], float]) -> Seconds:
    """Run each, and all of them again: what disturbs the machine disturbs them alike."""
    spent: Seconds = {name: [] for name in runs}
    for _ in range(N_ROUNDS):
        for name, run in runs.items():
            spent[name].append(run())
            print(f"{spent[name][-1]:6.1f} s  {name}", file=sys.stderr, flush=True)
    return spent


def _verger(*words: object, **environment: str) -> float:
    command = [sys.executable, "-m", "verger", *map(str, words)]
    start = time.monotonic()
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[2:])}: {done.stderr[-1000:]}")
    return time.monotonic() - start


def _master(state: dict[str, str]) -> str:
    command = [sys.executable, "-m", "verger", "cluster", "status", "--json"]
    told = subprocess.run(command, env=os.environ | state, capture_output=True, text=True, check=True).stdout
    return str(json.loads(told)["master"])
