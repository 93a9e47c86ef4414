"""Model of a run's duration, stage by stage, from times measured on one machine and assumptions about a cluster.

`MEASURED` has the times of this project's machine (docs/scaling.md); `ASSUMED` has values that were not measured.
`PartitionRule` gives the number of tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from verger.sources.partitions import PartitionRule
from verger.tasks.reduction_sizes import FAN_IN, rows_per_part, rows_per_sum, tree_depth


@dataclass(frozen=True)
class Measured:
    """Values measured on this project's machine; docs/scaling.md has the command for each value.

    The comments say where the time is spent: on one core of a worker, or in the driver.
    """

    start_s: float = 7.0  # Python, JVM, workers and network, until the first task
    fruitnet_ms: float = 2.7  # a core, per photo in the featurize stage
    mobilenet_ms: float = 9.0
    list_us: float = 11.0  # the driver, per photo of a store, to list and partition
    dispatch_ms: float = 1.5  # the driver, per task, in each of three jobs
    open_ms: float = 0.25  # the driver, per file of a table on disk
    moments_us: float = 165.0  # a core, per vector of 1,280, with Spark and reading
    project_us: float = 500.0  # a core, per vector, with writing
    merge_ms: float = 27.0  # a core, per set of moments: read it, add it, and an eighth of writing the sum
    fit_s: float = 1.0
    map_us: float = 4.6  # the driver, per photo: the report's map and labels
    feature_bytes: int = 5_200
    component_bytes: int = 406
    moments_bytes: int = 13_118_180
    network_bytes: int = 2_553_378


@dataclass(frozen=True)
class Assumed:
    """Assumptions about an object store and a cluster."""

    request_ms: float = 30.0
    list_page_ms: float = 100.0
    lists_at_a_time: int = 16
    copies_at_a_time: int = 16
    files_ahead: int = 16
    gets_per_s_and_prefix: int = 5_500  # the limit in Amazon's documentation
    n_prefixes: int = 100  # folders of photos, if the store scales by folder
    cores_per_executor: int = 8
    network_bytes_per_s: float = 300e6


MEASURED, ASSUMED = Measured(), Assumed()

_N_FEATURES = 1280


@dataclass(frozen=True)
class Workload:
    """Photos in an object store, as single files or packed, and the cores that process them."""

    n_photos: int
    n_cores: int
    photo_ms: float = MEASURED.fruitnet_ms
    photo_bytes: int = 5_500
    is_packed: bool = False

    @property
    def n_tasks(self) -> int:
        """Number of tasks of the featurize stage."""
        n_bytes = self.n_photos * self.photo_bytes
        return min(self.n_photos, PartitionRule().n_partitions(self.n_photos, n_bytes, self.n_cores))

    @property
    def task_s(self) -> float:
        """Seconds of a core for one task."""
        return self.n_photos / self.n_tasks * self.photo_ms / 1000

    @property
    def n_projecting(self) -> int:
        """Number of tasks that project the vectors; each writes one file of components."""
        return math.ceil(self.n_photos / rows_per_part(self.n_photos))

    @property
    def n_sums(self) -> int:
        """Number of tasks that sum moments; each writes one file of partial sums."""
        return math.ceil(self.n_photos / rows_per_sum(self.n_photos, _N_FEATURES))

    @property
    def gets(self) -> float:
        """Number of GET requests for photos: one per photo, or four per task if the photos are packed."""
        return 4.0 * self.n_tasks if self.is_packed else self.n_photos

    @property
    def all_gets(self) -> float:
        """Number of all GET requests: for the photos and for the tables."""
        return self.gets + self.n_tasks * (2 + 3 * 2 + 1)

    @property
    def all_puts(self) -> float:
        """Number of PUT, COPY and LIST requests: for listing, sums, and two tables (written, then copied)."""
        lists = 0 if self.is_packed else self.n_photos / 1000
        return self.n_tasks * (1 + 2) + self.n_sums + 2 * self.n_projecting + lists


def stages_s(workload: Workload) -> dict[str, float]:
    """Return the seconds of each stage of `verger run`; only `featurize` and `reduce` use the workers."""
    return {
        "start": MEASURED.start_s,
        "list": _listing_s(workload),
        "featurize": max(_computing_s(workload), _dispatching_s(workload, n_jobs=2), _reading_s(workload)),
        "count": _opening_s(workload),
        "reduce": _reducing_s(workload),
        "report": 2 * _opening_s(workload) + workload.n_photos * MEASURED.map_us / 1e6,
        "publish": (workload.n_tasks + workload.n_projecting)
        * ASSUMED.request_ms
        / ASSUMED.copies_at_a_time
        / 1000,
    }


def hours(workload: Workload) -> float:
    """Return the hours of the whole run."""
    return sum(stages_s(workload).values()) / 3600


def _listing_s(workload: Workload) -> float:
    if workload.is_packed:
        return ASSUMED.list_page_ms / 1000
    pages = workload.n_photos / 1000 * ASSUMED.list_page_ms / 1000 / ASSUMED.lists_at_a_time
    writing = workload.n_tasks * ASSUMED.request_ms / 1000
    return max(pages, workload.n_photos * MEASURED.list_us / 1e6) + writing


def _computing_s(workload: Workload) -> float:
    rounds = math.ceil(workload.n_tasks / workload.n_cores)
    return rounds * workload.task_s + _broadcast_s(workload.n_cores)


def _broadcast_s(n_cores: int) -> float:
    """Return the seconds of a broadcast; each executor passes the data on, so the number of copies doubles."""
    n_executors = math.ceil(n_cores / ASSUMED.cores_per_executor)
    return math.ceil(math.log2(n_executors + 1)) * MEASURED.network_bytes / ASSUMED.network_bytes_per_s


def _dispatching_s(workload: Workload, n_jobs: int) -> float:
    return n_jobs * workload.n_tasks * MEASURED.dispatch_ms / 1000


def _reading_s(workload: Workload) -> float:
    """Return the seconds that the store needs for all reads at its limit of requests per second."""
    return workload.gets / (ASSUMED.gets_per_s_and_prefix * ASSUMED.n_prefixes)


def _opening_s(workload: Workload) -> float:
    """Return the seconds in which the driver reads the footer and one column of each file of a table.

    The driver opens several files at the same time.
    """
    return workload.n_tasks * max(MEASURED.open_ms, 2 * ASSUMED.request_ms / ASSUMED.files_ahead) / 1000


def _reducing_s(workload: Workload) -> float:
    each_us = MEASURED.moments_us + MEASURED.project_us
    computing = workload.n_photos * each_us / 1e6 / min(workload.n_cores, workload.n_projecting)
    dispatching = (workload.n_projecting + workload.n_sums) * MEASURED.dispatch_ms / 1000
    return _opening_s(workload) + max(computing, dispatching) + _merging_s(workload) + MEASURED.fit_s


def _merging_s(workload: Workload) -> float:
    """Return the seconds to merge moments. At each level a task merges eight; the driver merges the last eight."""
    each_s = FAN_IN * (MEASURED.merge_ms / 1000 + MEASURED.moments_bytes / ASSUMED.network_bytes_per_s)
    total_s, n_sums = each_s, workload.n_sums
    for _ in range(tree_depth(workload.n_sums)):
        n_sums = math.ceil(n_sums / FAN_IN)
        total_s += math.ceil(n_sums / workload.n_cores) * each_s
    return total_s
