"""The record of the running cluster, which later commands read: a file in the user's state folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from verger.engine.spark.standalone.daemons import MASTER, Daemon
from verger.errors import ClusterError
from verger.storage.cache import state_dir


@dataclass(frozen=True)
class Cluster:
    """A started cluster. `master` is its spark:// URL, `page` its web page; `cores` and `memory` are per worker."""

    master: str
    page: str
    workers: int
    cores: int
    memory: str
    processes: tuple[Daemon, ...] = ()

    @property
    def n_cores(self) -> int:
        """Number of cores of all workers."""
        return self.workers * self.cores

    @property
    def is_running(self) -> bool:
        """Whether the master runs; without it, the workers are useless."""
        return any(daemon.role == MASTER and daemon.is_alive for daemon in self.processes)

    def joined_by(self, daemon: Daemon) -> Cluster:
        """Return the cluster with one more process."""
        return replace(self, processes=(*self.processes, daemon))


def cluster_dir() -> Path:
    """Return the folder of the cluster's state, logs and work files."""
    return state_dir() / "cluster"


def running_cluster(master: str) -> Cluster | None:
    """Return the cluster of `verger cluster up` if it is running and its URL is `master`, otherwise None."""
    cluster = read()
    return cluster if cluster and cluster.master == master and cluster.is_running else None


def read() -> Cluster | None:
    """Return the recorded cluster; None if no cluster was started, or the last one was stopped."""
    try:
        record = json.loads(_file().read_text())
        return Cluster(**record | {"processes": tuple(Daemon(**daemon) for daemon in record["processes"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{_file()} cannot be read: stop the cluster's processes, and remove this file"
        ) from error


def write(cluster: Cluster) -> None:
    """Record the cluster."""
    temporary = _file().with_suffix(".new")
    temporary.write_text(json.dumps(asdict(cluster), indent=1))
    temporary.replace(_file())


def remove() -> None:
    """Remove the record."""
    _file().unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[Path]:
    """Yield the cluster's folder; raises ClusterError while another command starts or stops the cluster."""
    folder = cluster_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError("another command is starting or stopping the cluster: try again later") from None
        yield folder


def _file() -> Path:
    return cluster_dir() / "cluster.json"
