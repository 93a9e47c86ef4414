"""The protocol that every cloud implements, and the types it uses.

`plan` describes the resources of a deployment, `up` creates them, `submit` starts a job. `status` and `logs` return
the state and the log of a job, `fetch` downloads its result. `down` removes everything and checks that nothing is
left. `guard` checks the settings of an existing deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

# Reports progress: called with one line of text.
Say = Callable[[str], None]

# Dataproc does not accept a cluster or a batch with fewer workers.
MIN_WORKERS = {"dataproc": 2, "batch": 2}

# Engines that can add spot machines.
_SPOT_ENGINES = ("emr", "dataproc", "job")


@dataclass(frozen=True)
class Shape:
    """The machines of a cluster: a number of `workers` of type `machine`, and one machine of type `primary`.

    max_workers: autoscaling may add workers up to this total; None: the number of workers is fixed.
    spot: whether added workers are spot machines, which the cloud may take back.
    """

    workers: int
    machine: str
    primary: str
    max_workers: int | None = None
    spot: bool = True

    @property
    def peak_workers(self) -> int:
        """The largest number of workers that exist at the same time."""
        return self.max_workers or self.workers

    def at_least(self, workers: int) -> Shape:
        """Return the shape with at least this number of workers."""
        kept = max(workers, self.workers)
        peak = max(kept, self.peak_workers)
        return replace(self, workers=kept, max_workers=peak if peak > kept else None)


@dataclass(frozen=True)
class DeploymentSpec:
    """A deployment as the user requested it.

    name: the names of all resources contain this name.
    engine: emr or serverless on aws, dataproc or batch on gcp, job on databricks.
    shape: if it has fewer workers than the engine's MIN_WORKERS, the number of workers is raised to this minimum.
    idle_minutes: machines end after this time without work.
    max_hours: after this time the job is stopped, or its cluster is removed; on EMR an alarm is sent instead.
    budget_eur: budget for a month; alerts at 50, 90 and 100 % go to `email`.
    """

    name: str
    provider: str
    region: str
    engine: str
    shape: Shape
    email: str | None = None
    budget_eur: float = 10.0
    idle_minutes: int = 15
    max_hours: int = 4
    project: str | None = None  # Google Cloud: id of the project
    workspace: str | None = None  # Databricks: address of the workspace
    catalog: str | None = None  # Databricks: catalog of the volume; the workspace's default if None
    notebook: bool = False  # JupyterHub on the cluster, if the provider has it
    image: str | None = None  # EMR Serverless: container image of the workers; it contains verger

    def __post_init__(self) -> None:
        """Raise the number of workers to the engine's minimum, so that tables and estimates use the same number."""
        object.__setattr__(self, "shape", self.shape.at_least(MIN_WORKERS.get(self.engine, 1)))

    @property
    def has_spot(self) -> bool:
        """Whether spot machines may be added."""
        return bool(self.shape.max_workers and self.shape.spot and self.engine in _SPOT_ENGINES)


@dataclass(frozen=True)
class PlannedResource:
    """A resource that `up` would create: its kind (in the provider's terms), its name and its purpose."""

    kind: str
    name: str
    purpose: str


@dataclass(frozen=True)
class JobSpec:
    """A verger command (`run`, `features`, `pack` or `reduce`) with its source, result and flags.

    files: local files that the flags name; they must be uploaded, so that the machines can read them.
    """

    command: str
    src: str
    out: str
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


ACTIVE_STATES = ("waiting", "running")


@dataclass(frozen=True)
class JobStatus:
    """A job's state as reported by the cloud: waiting, running, done, failed or stopped."""

    id: str
    state: str
    detail: str = ""
    began: str = ""
    ended: str = ""


@dataclass(frozen=True)
class DeploymentStatus:
    """State of a deployment: the cloud's description of the machines, and the jobs, newest first.

    is_billable: whether machines cost money now.
    data_uri: where photos and results are stored: s3://BUCKET, gs://BUCKET, /Volumes/...; empty if not created yet.
    standing_cost: text about the costs while no machine runs, except for stored data; empty if there are none.
    """

    state: str
    is_billable: bool
    jobs: tuple[JobStatus, ...] = ()
    data_uri: str = ""
    standing_cost: str = ""


@dataclass(frozen=True)
class Leftover:
    """A billable resource that still exists after `down`."""

    kind: str
    id: str


@dataclass(frozen=True)
class Finding:
    """Result of one check of `guard`: its name, whether it passed, and a description of the setting."""

    check: str
    is_ok: bool
    detail: str


class Provider(Protocol):
    """A cloud. Methods raise CloudError, or SetupError if a program, an extra or credentials are missing."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return the resources that `up` would create, without any request to the cloud."""
        ...

    def check(self, spec: DeploymentSpec) -> None:
        """Raise SetupError or CloudError if `up` cannot succeed. This is called before any slow step of `up`."""
        ...

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Create the deployment or change it to the spec; `package` is the folder from `verger cloud package`."""
        ...

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a job, and return its id."""
        ...

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return the current state of the deployment and its jobs."""
        ...

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the lines of a job's log."""
        ...

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result to a local folder."""
        ...

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Remove all resources, except the bucket if keep_data; return those that still exist and cost money."""
        ...

    def guard(self, spec: DeploymentSpec) -> list[Finding]:
        """Check the region, encryption, public access, idle stop and tags of the existing resources."""
        ...
