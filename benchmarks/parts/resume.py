"""Part `resume`: a run in which 1 % of the photos are new, against a run that computes everything."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import N_ROUNDS, Line, time_verger
from benchmarks.parts.chain import MODEL
from benchmarks.photos import Bench

EVERY = 100
_FLAGS = ("--components", "100", "--no-report")

Run = Callable[..., float]


class Spent(NamedTuple):
    """Seconds of a run on all photos, of a resumed run, and of a run on two photos, which is only start and end."""

    full_s: float
    resumed_s: float
    start_s: float

    @property
    def extra_s(self) -> float:
        """Seconds of the resumed run beyond start and end."""
        return self.resumed_s - self.start_s


def measure(bench: Bench) -> list[Line]:
    """Measure the time for 1 % new photos beyond start and end, at 4,120 and at 16,480 photos."""
    few, many = (
        time_resume(photos, bench.folder / f"resume-{photos.name}", lambda *words: time_verger(*words, *MODEL))
        for photos in (bench.test, bench.training)
    )
    share = statistics.median(spent.extra_s / spent.full_s for spent in many)
    extra_s = statistics.median(spent.extra_s for spent in few)
    return [
        *_lines(4120, few),
        Line("resumed run, without start and end", f"{extra_s:.1f} s", "<= 2 s"),
        *_lines(16480, many),
        Line("resumed run without start and end, as a share of a full run", f"{share:.1%}", "< 5 %"),
    ]


def _lines(n_photos: int, rounds: list[Spent]) -> list[Line]:
    medians = Spent(*map(statistics.median, zip(*rounds, strict=True)))
    return [
        Line(f"`verger run` from cold, {n_photos:,} photos", f"{medians.full_s:.0f} s"),
        Line("the same with `--resume`, 1 % of the photos new", f"{medians.resumed_s:.1f} s"),
        Line("the same on two photos (start and end only)", f"{medians.start_s:.1f} s"),
    ]


def time_resume(photos: Path, folder: Path, run: Run) -> list[Spent]:
    """Time `run`, which takes verger's arguments and returns seconds, N_ROUNDS times."""
    held_out = sorted(path for path in photos.rglob("*") if path.is_file())[::EVERY]
    rounds = []
    for _ in range(N_ROUNDS):
        full_s = run("run", photos, folder / "all", "--overwrite", *_FLAGS)
        aside = _move(held_out, photos, folder / "aside")
        run("run", photos, folder / "grown", "--overwrite", *_FLAGS)
        _move(aside, folder / "aside", photos)
        resumed_s = run("run", photos, folder / "grown", "--resume", *_FLAGS)
        start_s = run("run", photos, folder / "two", "--limit", 2, "--overwrite", "--components", 1, "--no-report")
        rounds.append(Spent(full_s, resumed_s, start_s))
    return rounds


def _move(paths: list[Path], source: Path, target: Path) -> list[Path]:
    moved = []
    for path in paths:
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        moved.append(Path(shutil.move(path, there)))
    return moved
