"""The protocol that every cloud implements, and the types it uses.

`plan` describes what would exist, `up` makes it, `submit` runs a job, `status`, `logs` and `fetch` follow it,
`down` removes everything and checks that nothing is left, `guard` checks a deployment that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

# Reports progress: called with one line of text.
Say = Callable[[str], None]

# Dataproc accepts no cluster and no batch with fewer workers.
MIN_WORKERS = {"dataproc": 2, "batch": 2}

# Engines that can add spot machines.
_SPOT_ENGINES = ("emr", "dataproc", "job")


@dataclass(frozen=True)
class Shape:
    """The machines of a cluster: `workers` of type `machine`, and one `primary` machine that leads them.

    max_workers: autoscaling may add workers up to this number; None keeps the number fixed.
    spot: added workers are spot machines, which the cloud may take back.
    """

    workers: int
    machine: str
    primary: str
    max_workers: int | None = None
    spot: bool = True

    @property
    def peak_workers(self) -> int:
        """The largest number of workers at one time."""
        return self.max_workers or self.workers

    def at_least(self, workers: int) -> Shape:
        """Return the shape with at least this number of workers."""
        kept = max(workers, self.workers)
        peak = max(kept, self.peak_workers)
        return replace(self, workers=kept, max_workers=peak if peak > kept else None)


@dataclass(frozen=True)
class DeploymentSpec:
    """A deployment as it was requested; it is saved on this machine under its name.

    name: begins the name of every resource.
    engine: aws: emr or serverless; gcp: dataproc or batch; databricks: job.
    shape: raised to the MIN_WORKERS of the engine.
    idle_minutes: machines end after this time without work.
    max_hours: a job that takes longer, or its cluster, is ended; on EMR an alarm is sent instead.
    budget_eur: for a month; alerts at 50, 90 and 100 % go to `email`.
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
    image: str | None = None  # EMR Serverless: image of the workers, with verger in it

    def __post_init__(self) -> None:
        """Raise the shape to what the engine accepts, so that this shape is also the one shown and priced."""
        object.__setattr__(self, "shape", self.shape.at_least(MIN_WORKERS.get(self.engine, 1)))

    @property
    def has_spot(self) -> bool:
        """Whether spot machines may be added."""
        return bool(self.shape.max_workers and self.shape.spot and self.engine in _SPOT_ENGINES)


@dataclass(frozen=True)
class PlannedResource:
    """A resource that `up` would make: the provider's name for its kind, its own name, and its purpose."""

    kind: str
    name: str
    purpose: str


@dataclass(frozen=True)
class JobSpec:
    """A command of verger (`run`, `features`, `pack` or `reduce`) with its source, result and flags.

    files: local files that the flags name; they must be uploaded for the machines.
    """

    command: str
    src: str
    out: str
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


ACTIVE_STATES = ("waiting", "running")


@dataclass(frozen=True)
class JobStatus:
    """A job as the cloud reports it; state: waiting, running, done, failed or stopped."""

    id: str
    state: str
    detail: str = ""
    began: str = ""
    ended: str = ""


@dataclass(frozen=True)
class DeploymentStatus:
    """State of a deployment: the cloud's description of the machines, and the jobs, newest first.

    is_billable: whether machines cost money now.
    data_uri: the storage of photos and results: s3://BUCKET, gs://BUCKET, /Volumes/...; empty if there is none yet.
    standing_cost: description of what is paid while no machine runs; empty if only the stored data costs.
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
    """Result of one check of `guard`: its name, whether it passed, and a description of what exists."""

    check: str
    is_ok: bool
    detail: str


class Provider(Protocol):
    """A cloud. Methods raise CloudError, or SetupError if a program, an extra or credentials are missing."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return what `up` would make, without any request to the cloud."""
        ...

    def check(self, spec: DeploymentSpec) -> None:
        """Check, before anything slow begins, that `up` can work: raises SetupError or CloudError if not."""
        ...

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Make the deployment, or change it to the spec; `package`: the folder that `verger cloud package` made."""
        ...

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a job, and return its id."""
        ...

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return the present state."""
        ...

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the lines that a job has written."""
        ...

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result to a local folder."""
        ...

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Remove everything (with keep_data all but the bucket), and return what still exists and costs money."""
        ...

    def guard(self, spec: DeploymentSpec) -> list[Finding]:
        """Check region, encryption, public access, idle stop and tags of what exists."""
        ...
