"""What every cloud can do for verger: one protocol, one file for each that does it.

`plan` says what would exist, `up` makes it, `submit` runs a job, `status`, `logs` and `fetch` follow it, `down`
removes everything and proves it, `guard` checks a set-up that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]

# Dataproc has no cluster, and no batch, of fewer workers.
MIN_WORKERS = {"dataproc": 2, "batch": 2}

# Engines whose added machines may be spot machines: others have none to choose.
_HAVE_SPOT = ("emr", "dataproc", "job")


@dataclass(frozen=True)
class Shape:
    """The machines of a cluster: `workers` of `machine`, one more of `primary` that leads them.

    max_workers: managed scaling may add up to so many; None keeps the number.
    spot: the added ones are spot machines, which the cloud may take back.
    """

    workers: int
    machine: str
    primary: str
    max_workers: int | None = None
    spot: bool = True

    @property
    def peak_workers(self) -> int:
        """How many there may be at a time."""
        return self.max_workers or self.workers

    def at_least(self, workers: int) -> Shape:
        """Return the shape with so many workers at least."""
        kept = max(workers, self.workers)
        most = max(kept, self.peak_workers)
        return replace(self, workers=kept, max_workers=most if most > kept else None)


@dataclass(frozen=True)
class DeploymentSpec:
    """What is asked of a cloud, and remembered on this machine under its name.

    name: begins the name of everything that is made.
    engine: aws: emr or serverless; gcp: dataproc or batch; databricks: job.
    shape: one that the engine has: with fewer workers than LEAST_WORKERS it becomes the next.
    idle_minutes: without work for so long, the machines end by themselves.
    max_hours: a job that takes longer is ended, or its cluster; on EMR an alarm tells of one that lives longer.
    budget_eur: a month; alerts at 50, 90 and 100 % go to `email`.
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
    project: str | None = None  # of Google's cloud
    workspace: str | None = None  # the address of a Databricks workspace
    catalog: str | None = None  # of Unity Catalog, in which the volume is made; the workspace's own by default
    notebook: bool = False  # JupyterHub on the cluster, where the provider has one
    image: str | None = None  # of EMR Serverless' workers, with verger in it

    def __post_init__(self) -> None:
        """Keep the shape that is made, so that it is also the one that is told and priced."""
        object.__setattr__(self, "shape", self.shape.at_least(MIN_WORKERS.get(self.engine, 1)))

    @property
    def has_spot(self) -> bool:
        """Whether machines may be added that the cloud takes back."""
        return bool(self.shape.max_workers and self.shape.spot and self.engine in _HAVE_SPOT)


@dataclass(frozen=True)
class PlannedResource:
    """One thing that would exist: its kind in the provider's words, name, and what it is for."""

    kind: str
    name: str
    purpose: str


@dataclass(frozen=True)
class JobSpec:
    """`verger run` (or another command of the chain) with its source, result and flags.

    files: of this machine, that the flags name: the machines must be given them.
    """

    command: str
    src: str
    out: str
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


ACTIVE_STATES = ("waiting", "running")


@dataclass(frozen=True)
class JobStatus:
    """A job as the cloud has it; state: waiting, running, done, failed or stopped."""

    id: str
    state: str
    detail: str = ""
    began: str = ""
    ended: str = ""


@dataclass(frozen=True)
class DeploymentStatus:
    """What runs: machines in the cloud's words, whether they cost something now, and the jobs, newest first.

    place: where photos and results lie: s3://BUCKET, gs://BUCKET, /Volumes/...; empty where there is none yet.
    standing: what is paid while no machine is up, in words; empty where that is the kept data alone.
    """

    state: str
    is_billable: bool
    jobs: tuple[JobStatus, ...] = ()
    data_uri: str = ""
    standing_cost: str = ""


@dataclass(frozen=True)
class Leftover:
    """Something billable that is still there after `down`."""

    kind: str
    id: str


@dataclass(frozen=True)
class GuardFinding:
    """One check of `guard`: what was looked at, whether it is as it should be, what was found."""

    check: str
    is_ok: bool
    detail: str


class Provider(Protocol):
    """A cloud. Methods raise CloudError, or SetupError where a program, an extra or credentials lack."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return what `up` would make, without asking the cloud for anything."""
        ...

    def check(self, spec: DeploymentSpec) -> None:
        """Raise SetupError where a program, an extra or credentials lack: before anything long is begun."""
        ...

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Make it, or bring what is there to what is wanted; `package`: the folder of `verger cloud package`."""
        ...

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a job, and return its id."""
        ...

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return what runs now."""
        ...

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the lines that a job has written."""
        ...

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result here."""
        ...

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Remove everything (with keep_data all but the bucket), and return what is still there and costs."""
        ...

    def guard(self, spec: DeploymentSpec) -> list[GuardFinding]:
        """Check region, encryption, public access, idle stop and tags of what exists."""
        ...
