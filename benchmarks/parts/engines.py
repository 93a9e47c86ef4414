"""Part `engines`: `verger run` with fruitnet on the local engine against Spark on the same cores."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measure import Line, against, alternate, time_verger
from benchmarks.photos import Bench

ENGINES = ("local", "spark")
_FLAGS = ("--model", "fruitnet", "--overwrite", "--no-report")


def measure(bench: Bench) -> list[Line]:
    """Measure both engines on 100, 4,120 and 16,480 photos, whole processes from cold."""
    out = bench.folder / "engines"
    return [
        _compare(bench.test, out, 100, 3, "--limit", "100"),
        _compare(bench.test, out, 4120, 3),
        _compare(bench.training, out, 16480, 2),
    ]


def _compare(photos: Path, out: Path, n_photos: int, target: float, *flags: str) -> Line:
    run = partial(time_verger, "run", photos)
    spent = alternate(
        **{engine: partial(run, out / engine, "--engine", engine, *_FLAGS, *flags) for engine in ENGINES}
    )
    what = f"`verger run`, fruitnet, {n_photos:,} photos: local engine against Spark"
    return against(what, spent, "local", "spark", f">= {target}")
