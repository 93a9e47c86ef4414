"""Start, stop and look at the cluster."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verger.engine.spark.standalone import state
from verger.engine.spark.standalone.daemons import ask, daemon_environment, master_command, worker_command
from verger.engine.spark.standalone.processes import Process, launch, stop
from verger.engine.spark.standalone.state import MASTER, Cluster
from verger.errors import ClusterError, SettingsError

# Below this an executor of Spark refuses to start.
MIN_MEMORY_MB = 512

WORKER = "worker"

_START_S = 180.0
_POLL_S = 0.1

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ClusterOptions:
    """How large a cluster is, and where its master listens; raises SettingsError.

    cores, memory: of each worker, for executors.
    port: 0 takes a free one.
    """

    workers: int = 2
    cores: int = 1
    memory: str = "1g"
    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        for key in ("workers", "cores"):
            if getattr(self, key) < 1:
                raise SettingsError(key, getattr(self, key), "1 or more")
        size = re.fullmatch(r"([1-9]\d*)([mg])", self.memory)
        if not size or int(size.group(1)) * (1024 if size.group(2) == "g" else 1) < MIN_MEMORY_MB:
            raise SettingsError("memory", self.memory, f"{MIN_MEMORY_MB}m or more: 1g, 1500m")
        if not 0 <= self.port <= 65535:
            raise SettingsError("port", self.port, "0 to 65535")


@dataclass(frozen=True)
class ClusterStatus:
    """A running cluster, and what its master told just now; `worker` and `app` as Spark's /json/ has them."""

    master: str
    page: str
    workers: tuple[dict[str, Any], ...]
    cores: int
    cores_used: int
    memory_mb: int
    memory_used_mb: int
    apps: tuple[dict[str, Any], ...]


def up(options: ClusterOptions, tell: Tell = lambda words: None) -> Cluster:
    """Start a master and its workers, and wait until they have found each other.

    Raises ClusterError where one is running already, or where it does not start; nothing is left then.
    """
    with state.alone() as folder:
        earlier = state.read()
        if earlier and any(process.is_alive for process in earlier.processes):
            raise ClusterError(f"a cluster is running at {earlier.master}: `verger cluster down` stops it")
        _clear(folder)
        port, page_port = _free_ports(options.host, options.port)
        master, page = f"spark://{options.host}:{port}", f"http://{options.host}:{page_port}"
        cluster = Cluster(master, page, options.workers, options.cores, options.memory)
        try:
            return _start(cluster, options.host, folder, tell)
        except BaseException:
            _stop()
            raise


def down() -> tuple[str, list[Process]] | None:
    """Stop the workers, then the master; return its URL and what ran, or None where there is no cluster."""
    with state.alone():
        return _stop()


def status() -> ClusterStatus | None:
    """Return what runs, or None; raises ClusterError where a cluster is there, but not well."""
    cluster = state.read()
    if cluster is None or not any(process.is_alive for process in cluster.processes):
        return None
    told = ask(cluster.page) if cluster.is_running else None
    if told is None:
        words = "does not answer" if cluster.is_running else "has died"
        raise ClusterError(f"the master of {cluster.master} {words}: `verger cluster down` stops what is left")
    return ClusterStatus(
        cluster.master,
        cluster.page,
        tuple(worker for worker in told["workers"] if worker["state"] == "ALIVE"),
        told["cores"],
        told["coresused"],
        told["memory"],
        told["memoryused"],
        tuple(told["activeapps"]),
    )


def _start(cluster: Cluster, host: str, folder: Path, tell: Tell) -> Cluster:
    environment = daemon_environment(host)

    def join(cluster: Cluster, role: str, name: str, command: list[str]) -> Cluster:
        joined = cluster.joined_by(launch(role, command, environment, folder / f"{name}.log"))
        state.write(joined)  # at once: whatever happens next, `down` knows of it
        return joined

    tell("starting the master")
    ports = [int(url.rpartition(":")[2]) for url in (cluster.master, cluster.page)]
    cluster = join(cluster, MASTER, MASTER, master_command(host, *ports))
    _wait_for_workers(cluster, 0, tell)
    for number in range(1, cluster.workers + 1):
        work = folder / "work" / str(number)
        command = worker_command(cluster.master, host, cluster.cores, cluster.memory, work)
        cluster = join(cluster, WORKER, f"worker-{number}", command)
    _wait_for_workers(cluster, cluster.workers, tell)
    return cluster


def _wait_for_workers(cluster: Cluster, n_workers: int, tell: Tell) -> None:
    """Wait until the master answers and knows so many workers; raises ClusterError where they do not come."""
    deadline = time.monotonic() + _START_S
    while True:
        told = ask(cluster.page)
        n_found = told["aliveworkers"] if told else 0
        if told and n_found >= n_workers:
            return
        dead = next((process for process in cluster.processes if not process.is_alive), None)
        late = cluster.processes[-1] if time.monotonic() > deadline else None
        if silent := dead or late:
            what = "ended" if dead else f"was not ready after {_START_S:.0f} s"
            where = f"the end of {silent.log}:\n{silent.last_words()}"
            raise ClusterError(f"the cluster does not start: a {silent.role} {what}; {where}")
        if n_workers:
            tell(f"starting the workers: {n_found} of {n_workers}")
        time.sleep(_POLL_S)


def _stop() -> tuple[str, list[Process]] | None:
    cluster = state.read()
    if cluster is None:
        return None
    workers = [process for process in cluster.processes if process.role == WORKER]
    masters = [process for process in cluster.processes if process.role == MASTER]
    stopped = stop(workers) + stop(masters)
    state.forget()
    return (cluster.master, stopped) if stopped else None


def _clear(folder: Path) -> None:
    """Remove what the last cluster left: its logs were worth keeping until now."""
    state.forget()
    shutil.rmtree(folder / "work", ignore_errors=True)
    for log in folder.glob("*.log"):
        log.unlink(missing_ok=True)


def _free_ports(host: str, port: int) -> tuple[int, int]:
    """Return the port asked for, or a free one, and another that is free."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        raise SettingsError("host", host, "one address of this machine: workers must know where to go")
    with socket.socket() as first, socket.socket() as second:
        try:
            second.bind((host, 0))
        except OSError as error:
            raise SettingsError("host", host, f"an IPv4 address or a name of this machine ({error})") from error
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            first.bind((host, port))
        except OSError as error:
            raise SettingsError("port", port, f"a free port, or 0 to have one chosen ({error.strerror})") from error
        return first.getsockname()[1], second.getsockname()[1]
