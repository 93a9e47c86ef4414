"""What 10^4 to 10^8 photos would take on 8 to 2,000 cores: arithmetic on what was measured here. Runs nothing.

    python -m benchmarks.simulate [CHART.svg]

`MEASURED` holds the figures of this project's machine, `ASSUMED` what no machine of ours could tell. Tasks are cut
by the chain's own rule (`ingest.Cut`). Prints docs/scaling.md's tables, and draws hours against cores.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from verger.ingest import Cut
from verger.reduce.spark import FAN_IN, n_projecting_tasks

PHOTOS = (10**4, 10**5, 10**6, 10**7, 10**8)
CORES = (8, 64, 512, 2_000)


@dataclass(frozen=True)
class Measured:
    """Of one core of this machine; see docs/scaling.md for the command behind each."""

    start_s: float = 7.0  # of Python, JVM, workers and network, to the first task
    fruitnet_ms: float = 2.7  # of a core for a photo in the featurize stage
    mobilenet_ms: float = 9.0
    list_us: float = 11.0  # of the driver for a photo of a store, found and cut
    dispatch_ms: float = 1.5  # of the driver for a task, in each of three jobs
    open_ms: float = 0.25  # of the driver for a file of a table on disk
    moments_us: float = 165.0  # of a core for a vector of 1,280, with Spark and reading it
    project_us: float = 500.0  # the same, with writing
    merge_ms: float = 27.0  # one of eight moments: read, added, its share of writing the sum
    fit_s: float = 1.0
    map_us: float = 4.6  # of the driver for a photo: the report's map and labels
    feature_bytes: int = 5_200
    component_bytes: int = 406
    moments_bytes: int = 13_118_180
    network_bytes: int = 2_553_378


@dataclass(frozen=True)
class Assumed:
    """Of an object store and a cluster that we did not have."""

    request_ms: float = 30.0
    list_page_ms: float = 100.0
    lists_at_a_time: int = 16
    copies_at_a_time: int = 16
    files_ahead: int = 16
    gets_per_s_and_prefix: int = 5_500  # what Amazon documents
    n_prefixes: int = 100  # folders of photos, if the store has learnt to part them
    cores_per_executor: int = 8
    network_bytes_per_s: float = 300e6
    usd_per_1000_puts: float = 0.0053  # eu-west-3; LIST and COPY cost the same
    usd_per_1000_gets: float = 0.00042
    usd_per_core_hour: float = 0.05


MEASURED, ASSUMED = Measured(), Assumed()


@dataclass(frozen=True)
class Job:
    """Photos of 5 kB in an object store, loose or packed, on so many cores."""

    n_photos: int
    n_cores: int
    photo_ms: float = MEASURED.fruitnet_ms
    photo_bytes: int = 5_500
    is_packed: bool = False

    @property
    def n_tasks(self) -> int:
        """Into how many tasks the chain cuts the photos."""
        return min(self.n_photos, Cut().n_tasks(self.n_photos, self.n_photos * self.photo_bytes, self.n_cores))

    @property
    def task_s(self) -> float:
        """How long a task takes a core."""
        return self.n_photos / self.n_tasks * self.photo_ms / 1000

    @property
    def n_projecting(self) -> int:
        """Tasks that project the vectors: as many files of components."""
        return n_projecting_tasks(self.n_tasks, self.n_cores)

    @property
    def gets(self) -> float:
        """Requests for photos: one each, or a footer and a row group's column chunks for each packed task."""
        return 4.0 * self.n_tasks if self.is_packed else self.n_photos


def stages_s(job: Job) -> dict[str, float]:
    """Return the seconds of each stage of `verger run`; only `featurize` and `reduce` use more than the driver."""
    return {
        "start": MEASURED.start_s,
        "list": _listing_s(job),
        "featurize": max(_computing_s(job), _dispatching_s(job, n_jobs=2), _reading_s(job)),
        "count": _opening_s(job),
        "reduce": _reducing_s(job),
        "report": 2 * _opening_s(job) + job.n_photos * MEASURED.map_us / 1e6,
        "publish": (job.n_tasks + job.n_projecting) * ASSUMED.request_ms / ASSUMED.copies_at_a_time / 1000,
    }


def hours(job: Job) -> float:
    """Return the whole run's."""
    return sum(stages_s(job).values()) / 3600


def _listing_s(job: Job) -> float:
    if job.is_packed:
        return ASSUMED.list_page_ms / 1000
    pages = job.n_photos / 1000 * ASSUMED.list_page_ms / 1000 / ASSUMED.lists_at_a_time
    writing = job.n_tasks * ASSUMED.request_ms / 1000
    return max(pages, job.n_photos * MEASURED.list_us / 1e6) + writing


def _computing_s(job: Job) -> float:
    rounds = math.ceil(job.n_tasks / job.n_cores)
    return rounds * job.task_s + _broadcast_s(job.n_cores)


def _broadcast_s(n_cores: int) -> float:
    """As a torrent: executors pass blocks on to one another, so it takes the depth of a tree, not their number."""
    n_executors = math.ceil(n_cores / ASSUMED.cores_per_executor)
    return math.ceil(math.log2(n_executors + 1)) * MEASURED.network_bytes / ASSUMED.network_bytes_per_s


def _dispatching_s(job: Job, n_jobs: int) -> float:
    return n_jobs * job.n_tasks * MEASURED.dispatch_ms / 1000


def _reading_s(job: Job) -> float:
    """The store's own limit on requests."""
    return job.gets / (ASSUMED.gets_per_s_and_prefix * ASSUMED.n_prefixes)


def _opening_s(job: Job) -> float:
    """A table's files, footer and column, by the driver, which waits for some at a time."""
    return job.n_tasks * max(MEASURED.open_ms, 2 * ASSUMED.request_ms / ASSUMED.files_ahead) / 1000


def _reducing_s(job: Job) -> float:
    each_us = MEASURED.moments_us + MEASURED.project_us
    computing = job.n_photos * each_us / 1e6 / min(job.n_cores, job.n_projecting)
    dispatching = job.n_projecting * MEASURED.dispatch_ms / 1000
    return _opening_s(job) + max(computing, dispatching) + _merging_s(job.n_cores) + MEASURED.fit_s


def tree_depth(n_parts: int) -> int:
    """Return how often the moments of `n_parts` slots are merged by eights until the driver takes the rest."""
    depth = 0
    while n_parts > FAN_IN:
        n_parts, depth = math.ceil(n_parts / FAN_IN), depth + 1
    return depth


def _merging_s(n_cores: int) -> float:
    """At every level a task fetches eight moments and merges them; the driver does as much at the end."""
    fetching = FAN_IN * MEASURED.moments_bytes / ASSUMED.network_bytes_per_s
    return (tree_depth(n_cores) + 1) * (FAN_IN * MEASURED.merge_ms / 1000 + fetching)


def shuffle_bytes(n_cores: int) -> int:
    """Return the bytes of moments that travel: one for each slot, an eighth at the next level, and so on."""
    total, n_parts = 0, n_cores
    while n_parts > FAN_IN:
        total, n_parts = total + n_parts, math.ceil(n_parts / FAN_IN)
    return (total + n_parts) * MEASURED.moments_bytes


def usd(job: Job) -> dict[str, float]:
    """Return what the run costs, by what is paid for."""
    lists = 0 if job.is_packed else job.n_photos / 1000
    # The listing, the journal and two tables, which are written and then copied to their place.
    puts = job.n_tasks * (1 + 1 + 2) + 2 * job.n_projecting + lists
    gets = job.gets + job.n_tasks * (2 + 3 * 2 + 1)
    return {
        "GET": gets / 1000 * ASSUMED.usd_per_1000_gets,
        "PUT, LIST": puts / 1000 * ASSUMED.usd_per_1000_puts,
        "cores": hours(job) * job.n_cores * ASSUMED.usd_per_core_hour,
    }


def sizes_gb(job: Job) -> dict[str, float]:
    """Return what is written: the journal holds the features too, until the result is published."""
    features = job.n_photos * MEASURED.feature_bytes / 1e9
    components = job.n_photos * MEASURED.component_bytes / 1e9
    return {"features": features, "journal": features, "components": components}


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def say_time(seconds: float) -> str:
    """Return seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.{int(seconds < 10)}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def hours_table() -> str:
    """Whole runs of fruitnet: photos down, cores across."""
    head = ["photos", *(f"{n:,} cores" for n in CORES), "tasks at 2,000 cores", "a task"]
    rows = []
    for n in PHOTOS:
        jobs = [Job(n, cores) for cores in CORES]
        last = jobs[-1]
        times = [say_time(3600 * hours(job)) for job in jobs]
        rows.append([f"{n:,}", *times, f"{last.n_tasks:,}", say_time(last.task_s)])
    return _table(head, rows)


def stages_table(n_photos: int = 10**8) -> str:
    """The stages of the largest run."""
    jobs = {
        "fruitnet, 64 cores": Job(n_photos, 64),
        "fruitnet, 2,000 cores": Job(n_photos, 2_000),
        "the same, packed": Job(n_photos, 2_000, is_packed=True),
        "MobileNetV2, 2,000, packed": Job(n_photos, 2_000, MEASURED.mobilenet_ms, is_packed=True),
    }
    stages = {name: stages_s(job) for name, job in jobs.items()}
    rows = [[stage, *(say_time(spent[stage]) for spent in stages.values())] for stage in stages_s(Job(1, 1))]
    rows += [["**all**", *(f"**{say_time(sum(spent.values()))}**" for spent in stages.values())]]
    costs = [usd(job) for job in jobs.values()]
    rows += [[f"USD: {what}", *(f"{cost[what]:,.2f}" for cost in costs)] for what in costs[0]]
    return _table([f"{n_photos:,} photos", *jobs], rows)


def chart() -> str:
    """Return an SVG of hours against cores, both in powers, a line a number of photos; dashed where packed."""
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
            jobs = [Job(n, count, is_packed=is_packed) for count in cores]
            lines.append(_path([_point(job.n_cores, hours(job)) for job in jobs], colour, is_dashed=is_packed))
        x, y = _point(cores[0], hours(Job(n, cores[0])))
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
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if is_dashed else ""
    return f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'


def _text(x: float, y: float, words: object, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{words}</text>'


if __name__ == "__main__":
    print(f"{hours_table()}\n\n{stages_table()}")
    for name in sys.argv[1:]:
        Path(name).write_text(chart())
