"""Start, stop and describe the cluster: `verger cluster up`, `down` and `status`."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verger.engine.spark.standalone import state
from verger.engine.spark.standalone.daemons import (
    MASTER,
    WORKER,
    Daemon,
    daemon_environment,
    master_command,
    start_daemon,
    stop_daemons,
    worker_command,
)
from verger.engine.spark.standalone.state import Cluster
from verger.errors import ClusterError, SettingsError

# A Spark executor does not start with less memory.
MIN_MEMORY_MB = 512

_START_S = 180.0
_POLL_S = 0.1
_ANSWER_S = 5.0

MessageCallback = Callable[[str], None]


@dataclass(frozen=True)
class ClusterOptions:
    """Size of a cluster, and the address of its master. Raises SettingsError for values that are not valid.

    cores, memory: those of each worker, for executors. port: port of the master; 0 means any free port.
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
    """The state of a running cluster; `workers` and `apps` are copied from the /json/ page of its master."""

    master: str
    page: str
    workers: tuple[dict[str, Any], ...]
    cores: int
    cores_used: int
    memory_mb: int
    memory_used_mb: int
    apps: tuple[dict[str, Any], ...]


def up(options: ClusterOptions, on_message: MessageCallback = lambda message: None) -> Cluster:
    """Start a master and its workers, and wait until the workers are connected.

    on_message: called with a message about each step. Raises ClusterError if a cluster already runs, or if the new
    cluster does not start; in the second case all processes of the new cluster are stopped.
    """
    with state.locked() as folder:
        earlier = state.read()
        if earlier and any(process.is_alive for process in earlier.processes):
            raise ClusterError(f"a cluster is already running at {earlier.master}: `verger cluster down` stops it")
        _clear(folder)
        port, page_port = _free_ports(options.host, options.port)
        master, page = f"spark://{options.host}:{port}", f"http://{options.host}:{page_port}"
        cluster = Cluster(master, page, options.workers, options.cores, options.memory)
        try:
            return _start(cluster, options.host, folder, on_message)
        except BaseException:
            _stop()
            raise


def down() -> tuple[str, list[Daemon]] | None:
    """Stop the workers, then the master. Return the master's URL and the stopped processes; None if none ran."""
    with state.locked():
        return _stop()


def status() -> ClusterStatus | None:
    """Return the state of the cluster; None if no cluster runs. Raises ClusterError if the master is silent."""
    cluster = state.read()
    if cluster is None or not any(process.is_alive for process in cluster.processes):
        return None
    report = query_master(cluster.page) if cluster.is_running else None
    if report is None:
        problem = "does not answer" if cluster.is_running else "has died"
        raise ClusterError(f"the master {cluster.master} {problem}: run `verger cluster down` to stop the workers")
    return ClusterStatus(
        cluster.master,
        cluster.page,
        tuple(worker for worker in report["workers"] if worker["state"] == "ALIVE"),
        report["cores"],
        report["coresused"],
        report["memory"],
        report["memoryused"],
        tuple(report["activeapps"]),
    )


def query_master(page: str) -> dict[str, Any] | None:
    """Return the state that the master reports on its web page `page`; None if the master does not answer."""
    # No proxy: the proxy in the environment is for other machines.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{page}/json/", timeout=_ANSWER_S) as answer:
            report: dict[str, Any] = json.load(answer)
            return report
    except (OSError, ValueError):
        return None


def _start(cluster: Cluster, host: str, folder: Path, on_message: MessageCallback) -> Cluster:
    environment = daemon_environment(host)

    def join(cluster: Cluster, role: str, name: str, command: list[str]) -> Cluster:
        joined = cluster.joined_by(start_daemon(role, command, environment, folder / f"{name}.log"))
        state.write(joined)  # before the next step, which may fail: `down` must stop this process in any case
        return joined

    on_message("starting the master")
    ports = [int(url.rpartition(":")[2]) for url in (cluster.master, cluster.page)]
    cluster = join(cluster, MASTER, MASTER, master_command(host, *ports))
    _wait_for_workers(cluster, 0, on_message)
    for number in range(1, cluster.workers + 1):
        work = folder / "work" / str(number)
        command = worker_command(cluster.master, host, cluster.cores, cluster.memory, work)
        cluster = join(cluster, WORKER, f"worker-{number}", command)
    _wait_for_workers(cluster, cluster.workers, on_message)
    return cluster


def _wait_for_workers(cluster: Cluster, n_workers: int, on_message: MessageCallback) -> None:
    """Wait until the master has `n_workers` workers; raises ClusterError if a process ends or takes too long."""
    deadline = time.monotonic() + _START_S
    while True:
        report = query_master(cluster.page)
        n_found = report["aliveworkers"] if report else 0
        if report and n_found >= n_workers:
            return
        dead = next((daemon for daemon in cluster.processes if not daemon.is_alive), None)
        late = cluster.processes[-1] if time.monotonic() > deadline else None
        if failed := dead or late:
            problem = "ended" if dead else f"was not ready after {_START_S:.0f} s"
            log = f"the end of {failed.log}:\n{failed.last_log_lines()}"
            raise ClusterError(f"the cluster does not start: a {failed.role} {problem}; {log}")
        if n_workers:
            on_message(f"starting the workers: {n_found} of {n_workers}")
        time.sleep(_POLL_S)


def _stop() -> tuple[str, list[Daemon]] | None:
    cluster = state.read()
    if cluster is None:
        return None
    stopped: list[Daemon] = []
    for role in (WORKER, MASTER):
        stopped += stop_daemons([daemon for daemon in cluster.processes if daemon.role == role])
    state.remove()
    return (cluster.master, stopped) if stopped else None


def _clear(folder: Path) -> None:
    """Remove the files of the last cluster. `down` does not remove them, because the user may need the logs."""
    state.remove()
    shutil.rmtree(folder / "work", ignore_errors=True)
    for log in folder.glob("*.log"):
        log.unlink(missing_ok=True)


def _free_ports(host: str, port: int) -> tuple[int, int]:
    """Return `port` (or a free port if `port` is 0), and a second free port; raises SettingsError."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        raise SettingsError("host", host, "one address of this machine, for the workers to connect to")
    with socket.socket() as first, socket.socket() as second:
        try:
            second.bind((host, 0))
        except OSError as error:
            raise SettingsError("host", host, f"an IPv4 address or a name of this machine ({error})") from error
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            first.bind((host, port))
        except OSError as error:
            raise SettingsError(
                "port", port, f"a free port, or 0 to use any free port ({error.strerror})"
            ) from error
        return first.getsockname()[1], second.getsockname()[1]
