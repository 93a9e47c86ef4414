"""Estimate the time of runs on 10^4 to 10^8 photos with 8 to 2,000 cores. Computes only; runs nothing.

    python -m benchmarks.simulate [CHART.svg]

The arithmetic is that of `verger.cloud.pricing.duration`, which `verger cost` uses too. Prints the tables of
docs/scaling.md and draws hours against cores.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path

from verger.cloud.pricing.duration import MEASURED, Workload, hours, stages_s

PHOTOS = (10**4, 10**5, 10**6, 10**7, 10**8)
CORES = (8, 64, 512, 2_000)

USD_PER_1000_PUTS = 0.0053  # eu-west-3; LIST and COPY cost the same
USD_PER_1000_GETS = 0.00042
USD_PER_CORE_HOUR = 0.05  # assumed


def usd(job: Workload) -> dict[str, float]:
    """Return the cost of a run, by billed item."""
    return {
        "GET": job.all_gets / 1000 * USD_PER_1000_GETS,
        "PUT, LIST": job.all_puts / 1000 * USD_PER_1000_PUTS,
        "cores": hours(job) * job.n_cores * USD_PER_CORE_HOUR,
    }


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_time(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, depending on its size."""
    if seconds < 120:
        return f"{seconds:.{int(seconds < 10)}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def hours_table() -> str:
    """Return a table of whole runs of fruitnet: a row per number of photos, a column per number of cores."""
    head = ["photos", *(f"{n:,} cores" for n in CORES), "tasks at 2,000 cores", "a task"]
    rows = []
    for n in PHOTOS:
        jobs = [Workload(n, cores) for cores in CORES]
        last = jobs[-1]
        times = [format_time(3600 * hours(job)) for job in jobs]
        rows.append([f"{n:,}", *times, f"{last.n_tasks:,}", format_time(last.task_s)])
    return _table(head, rows)


def stages_table(n_photos: int = 10**8) -> str:
    """Return a table of the stages of the largest run."""
    jobs = {
        "fruitnet, 64 cores": Workload(n_photos, 64),
        "fruitnet, 2,000 cores": Workload(n_photos, 2_000),
        "the same, packed": Workload(n_photos, 2_000, is_packed=True),
        "MobileNetV2, 2,000, packed": Workload(n_photos, 2_000, MEASURED.mobilenet_ms, is_packed=True),
    }
    stages = {name: stages_s(job) for name, job in jobs.items()}
    rows = [
        [stage, *(format_time(spent[stage]) for spent in stages.values())] for stage in stages_s(Workload(1, 1))
    ]
    rows += [["**all**", *(f"**{format_time(sum(spent.values()))}**" for spent in stages.values())]]
    costs = [usd(job) for job in jobs.values()]
    rows += [[f"USD: {what}", *(f"{cost[what]:,.2f}" for cost in costs)] for what in costs[0]]
    return _table([f"{n_photos:,} photos", *jobs], rows)


def chart() -> str:
    """Return an SVG of hours against cores, on logarithmic axes, a line per number of photos; dashed if packed."""
    cores = [2**i for i in range(3, 12)]
    lines = [_text(_WIDTH / 2, _HEIGHT - 8, "cores"), _text(_WIDTH / 2, 16, _TITLE)]
    for count in cores:
        low, high = _point(count, _SHOWN_H[0]), _point(count, _SHOWN_H[1])
        lines += [_path([low, high], "#ddd"), _text(low[0], low[1] + 16, count)]
    for words, time_h in {"1 min": 1 / 60, "6 min": 0.1, "1 h": 1, "10 h": 10}.items():
        left, right = _point(cores[0], time_h), _point(cores[-1], time_h)
        lines += [_path([left, right], "#ddd"), _text(28, left[1] + 4, words)]
    for n, colour in zip(PHOTOS[1:], ("#2a9d8f", "#e9a23b", "#d1495b", "#5b4b8a"), strict=True):
        for is_packed in (False, True):
            jobs = [Workload(n, count, is_packed=is_packed) for count in cores]
            lines.append(_path([_point(job.n_cores, hours(job)) for job in jobs], colour, is_dashed=is_packed))
        x, y = _point(cores[0], hours(Workload(n, cores[0])))
        lines.append(_text(x + 45, y - 6, f"{n:,}", colour))
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    return "\n".join(
        [f"<svg {frame} {style}>", '<rect width="100%" height="100%" fill="#fff"/>', *lines, "</svg>\n"]
    )


_WIDTH, _HEIGHT = 640, 320
_SHOWN_H = (0.005, 50)
_TITLE = "Hours of a whole run with fruitnet, simulated (dashed: photos packed)"


def _point(n_cores: float, time_h: float) -> tuple[float, float]:
    return 60 + 480 * math.log(n_cores / 8, 256), 280 - 250 * math.log(
        time_h / _SHOWN_H[0], _SHOWN_H[1] / _SHOWN_H[0]
    )


def _path(points: list[tuple[float, float]], colour: str, *, is_dashed: bool = False) -> str:
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if is_dashed else ""
    return f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'


def _text(x: float, y: float, words: object, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{words}</text>'


if __name__ == "__main__":
    print(f"{hours_table()}\n\n{stages_table()}")
    for name in sys.argv[1:]:
        Path(name).write_text(chart())
