"""What is known of the cluster between commands: a file in the user's state folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from verger.engine.spark.standalone.processes import Process
from verger.errors import ClusterError
from verger.storage.atomic import write_atomically
from verger.storage.cache import state_dir

MASTER = "master"


@dataclass(frozen=True)
class Cluster:
    """A cluster as it was started; `master` is its spark:// URL, `page` its web page."""

    master: str
    page: str
    workers: int
    cores: int
    memory: str
    processes: tuple[Process, ...] = ()

    @property
    def n_cores(self) -> int:
        """The cores of all the workers."""
        return self.workers * self.cores

    @property
    def is_running(self) -> bool:
        """Tell whether its master runs: without one the workers are of no use."""
        return any(process.role == MASTER and process.is_alive for process in self.processes)

    def joined_by(self, process: Process) -> Cluster:
        """Return the cluster with one more process."""
        return replace(self, processes=(*self.processes, process))


def cluster_dir() -> Path:
    """Return where the cluster's state, logs and work lie."""
    return state_dir() / "cluster"


def running_cluster(master: str) -> Cluster | None:
    """Return the running cluster that `verger cluster up` started, if `master` names it."""
    cluster = read()
    return cluster if cluster and cluster.master == master and cluster.is_running else None


def read() -> Cluster | None:
    """Return the cluster last started, or None after it was stopped."""
    try:
        told = json.loads(_file().read_text())
        return Cluster(**told | {"processes": tuple(Process(**process) for process in told["processes"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"{_file()} cannot be read: stop the cluster's processes, and remove it") from error


def write(cluster: Cluster) -> None:
    """Remember the cluster."""
    with write_atomically(_file()) as temporary:
        temporary.write_text(json.dumps(asdict(cluster), indent=1))


def forget() -> None:
    """Remember no cluster."""
    _file().unlink(missing_ok=True)


@contextmanager
def alone() -> Iterator[Path]:
    """Yield the cluster's folder while no other command starts or stops it."""
    folder = cluster_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError("another command is just starting or stopping the cluster") from None
        yield folder


def _file() -> Path:
    return cluster_dir() / "cluster.json"
