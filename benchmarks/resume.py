"""What a run costs that finds one photo in a hundred new, against one that computes everything."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

EVERY = 100
_FLAGS = ("--components", "100", "--no-report")

Run = Callable[..., float]


class Spent(NamedTuple):
    """Medians: of a run on all photos, of one that resumes, and of one on two photos, which but starts and ends."""

    full_s: float
    resumed_s: float
    start_s: float


def time_resume(photos: Path, folder: Path, run: Run, n_rounds: int) -> Spent:
    """Time `run`, which takes verger's words and returns seconds."""
    held_out = sorted(path for path in photos.rglob("*") if path.is_file())[::EVERY]
    rounds = []
    for _ in range(n_rounds):
        full = run("run", photos, folder / "all", "--overwrite", *_FLAGS)
        aside = _move(held_out, photos, folder / "aside")
        run("run", photos, folder / "grown", "--overwrite", *_FLAGS)
        _move(aside, folder / "aside", photos)
        resumed = run("run", photos, folder / "grown", "--resume", *_FLAGS)
        start = run("run", photos, folder / "two", "--limit", 2, "--overwrite", "--components", 1, "--no-report")
        rounds.append((full, resumed, start))
    return Spent(*map(statistics.median, zip(*rounds, strict=True)))


def _move(paths: list[Path], source: Path, target: Path) -> list[Path]:
    moved = []
    for path in paths:
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        moved.append(Path(shutil.move(path, there)))
    return moved
