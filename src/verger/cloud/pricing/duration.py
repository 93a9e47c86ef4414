"""How long a run takes, stage by stage: arithmetic on what was measured on one machine, and assumed of a cluster.

`MEASURED` holds the figures of this project's machine (docs/scaling.md), `ASSUMED` what no machine of ours could
tell. Photos are split into tasks by `PartitionRule`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from verger.sources.partitions import PartitionRule
from verger.tasks.reduction_sizes import FAN_IN, rows_per_part, rows_per_sum, tree_depth


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


MEASURED, ASSUMED = Measured(), Assumed()

_N_FEATURES = 1280


@dataclass(frozen=True)
class Workload:
    """Photos of 5 kB in an object store, loose or packed, on so many cores."""

    n_photos: int
    n_cores: int
    photo_ms: float = MEASURED.fruitnet_ms
    photo_bytes: int = 5_500
    is_packed: bool = False

    @property
    def n_tasks(self) -> int:
        """Into how many tasks the chain cuts the photos."""
        return min(
            self.n_photos,
            PartitionRule().n_partitions(self.n_photos, self.n_photos * self.photo_bytes, self.n_cores),
        )

    @property
    def task_s(self) -> float:
        """How long a task takes a core."""
        return self.n_photos / self.n_tasks * self.photo_ms / 1000

    @property
    def n_projecting(self) -> int:
        """Tasks that project the vectors: as many files of components."""
        return math.ceil(self.n_photos / rows_per_part(self.n_photos))

    @property
    def n_sums(self) -> int:
        """Tasks that sum up moments: as many files of partial sums."""
        return math.ceil(self.n_photos / rows_per_sum(self.n_photos, _N_FEATURES))

    @property
    def gets(self) -> float:
        """Requests for photos: one each, or a footer and a row group's column chunks for each packed task."""
        return 4.0 * self.n_tasks if self.is_packed else self.n_photos

    @property
    def all_gets(self) -> float:
        """Every GET: the photos', and those of the tables, which are read again."""
        return self.gets + self.n_tasks * (2 + 3 * 2 + 1)

    @property
    def all_puts(self) -> float:
        """Every PUT, COPY and LIST: the listing, the partial sums, and two tables, written and then copied."""
        lists = 0 if self.is_packed else self.n_photos / 1000
        return self.n_tasks * (1 + 2) + self.n_sums + 2 * self.n_projecting + lists


def stages_s(job: Workload) -> dict[str, float]:
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


def hours(job: Workload) -> float:
    """Return the whole run's."""
    return sum(stages_s(job).values()) / 3600


def _listing_s(job: Workload) -> float:
    if job.is_packed:
        return ASSUMED.list_page_ms / 1000
    pages = job.n_photos / 1000 * ASSUMED.list_page_ms / 1000 / ASSUMED.lists_at_a_time
    writing = job.n_tasks * ASSUMED.request_ms / 1000
    return max(pages, job.n_photos * MEASURED.list_us / 1e6) + writing


def _computing_s(job: Workload) -> float:
    rounds = math.ceil(job.n_tasks / job.n_cores)
    return rounds * job.task_s + _broadcast_s(job.n_cores)


def _broadcast_s(n_cores: int) -> float:
    """As a torrent: executors pass blocks on to one another, so it takes the depth of a tree, not their number."""
    n_executors = math.ceil(n_cores / ASSUMED.cores_per_executor)
    return math.ceil(math.log2(n_executors + 1)) * MEASURED.network_bytes / ASSUMED.network_bytes_per_s


def _dispatching_s(job: Workload, n_jobs: int) -> float:
    return n_jobs * job.n_tasks * MEASURED.dispatch_ms / 1000


def _reading_s(job: Workload) -> float:
    """The store's own limit on requests."""
    return job.gets / (ASSUMED.gets_per_s_and_prefix * ASSUMED.n_prefixes)


def _opening_s(job: Workload) -> float:
    """A table's files, footer and column, by the driver, which waits for some at a time."""
    return job.n_tasks * max(MEASURED.open_ms, 2 * ASSUMED.request_ms / ASSUMED.files_ahead) / 1000


def _reducing_s(job: Workload) -> float:
    each_us = MEASURED.moments_us + MEASURED.project_us
    computing = job.n_photos * each_us / 1e6 / min(job.n_cores, job.n_projecting)
    dispatching = (job.n_projecting + job.n_sums) * MEASURED.dispatch_ms / 1000
    return _opening_s(job) + max(computing, dispatching) + _merging_s(job) + MEASURED.fit_s


def _merging_s(job: Workload) -> float:
    """At every level each task fetches eight moments and merges them; the driver does as much at the end."""
    each_s = FAN_IN * (MEASURED.merge_ms / 1000 + MEASURED.moments_bytes / ASSUMED.network_bytes_per_s)
    spent_s, n_sums = each_s, job.n_sums
    for _ in range(tree_depth(job.n_sums)):
        n_sums = math.ceil(n_sums / FAN_IN)
        spent_s += math.ceil(n_sums / job.n_cores) * each_s
    return spent_s
