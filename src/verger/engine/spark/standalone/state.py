"""The record of the running cluster, which later commands read: a file in the user's state folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from verger.engine.spark.standalone.daemons import MASTER, Daemon
from verger.errors import ClusterError
from verger.storage.atomic import write_atomically
from verger.storage.cache import state_dir
from verger.storage.command_lock import hold_lock


@dataclass(frozen=True)
class Cluster:
    """A started cluster. master: its spark:// URL. page: its web page. cores, memory: those of each worker."""

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
        """Whether the master runs; workers without a master cannot be used."""
        return any(daemon.role == MASTER and daemon.is_alive for daemon in self.processes)

    def joined_by(self, daemon: Daemon) -> Cluster:
        """Return the cluster with one more process."""
        return replace(self, processes=(*self.processes, daemon))


def cluster_dir() -> Path:
    """Return the folder of the cluster's state, logs and work files."""
    return state_dir() / "cluster"


def running_cluster(master: str) -> Cluster | None:
    """Return the cluster of `verger cluster up` if it runs and `master` is its URL, otherwise None."""
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
    with write_atomically(_file()) as temporary:
        temporary.write_text(json.dumps(asdict(cluster), indent=1))


def remove() -> None:
    """Remove the record."""
    _file().unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[Path]:
    """Yield the cluster's folder; raises ClusterError while another command starts or stops the cluster."""
    folder = cluster_dir()
    busy = ClusterError("another command is starting or stopping the cluster: try again later")
    with hold_lock(folder / "lock", busy):
        yield folder


def _file() -> Path:
    return cluster_dir() / "cluster.json"
