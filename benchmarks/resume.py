"""What a run costs that finds one photo in a hundred new, against one that computes everything."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

EVERY = 100
_FLAGS = ("--components", "100", "--no-report")

Run = Callable[..., float]


def time_resume(photos: Path, folder: Path, run: Run, n_rounds: int) -> tuple[float, float, float]:
    """Return seconds of `run` (verger's words -> seconds) on all photos, of one that resumes, and of one on two.

    Medians; the last one is what starting and ending costs.
    """
    held_out = sorted(path for path in photos.rglob("*") if path.is_file())[::EVERY]
    full, resumed, started = [], [], []
    for _ in range(n_rounds):
        full.append(run("run", photos, folder / "all", "--overwrite", *_FLAGS))
        aside = _move(held_out, photos, folder / "aside")
        run("run", photos, folder / "grown", "--overwrite", *_FLAGS)
        _move(aside, folder / "aside", photos)
        resumed.append(run("run", photos, folder / "grown", "--resume", *_FLAGS))
        started.append(
            run("run", photos, folder / "two", "--limit", 2, "--overwrite", "--components", 1, "--no-report")
        )
    return statistics.median(full), statistics.median(resumed), statistics.median(started)


def _move(paths: list[Path], source: Path, target: Path) -> list[Path]:
    moved = []
    for path in paths:
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        moved.append(Path(shutil.move(path, there)))
    return moved
