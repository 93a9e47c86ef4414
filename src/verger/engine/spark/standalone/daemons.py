"""The master and the workers as background processes that outlive the command that starts them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from verger.engine.spark.installation import spark_home
from verger.engine.spark.java import class_archive, use_java

MASTER, WORKER = "master", "worker"

_CLASSES = "org.apache.spark.deploy"

_TERM_S = 20.0
_KILL_S = 5.0
_POLL_S = 0.05

# The start time that psutil reports for a process changes slightly when the system clock is set.
_START_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Daemon:
    """A process that was started. `created_s` shows whether the pid now belongs to another process."""

    role: str
    pid: int
    created_s: float
    log: str

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.find() is not None

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs, otherwise None."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created_s) < _START_TOLERANCE_S and _runs(process):
                return process
        return None

    def last_log_lines(self, n_lines: int = 8) -> str:
        """Return the end of the log."""
        try:
            return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-n_lines:])
        except OSError:
            return ""


def start_daemon(role: str, command: list[str], environment: Mapping[str, str], log: Path) -> Daemon:
    """Start a command in its own session, so that it survives Ctrl-C and the end of this process."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process.returncode = 0  # prevents the ResourceWarning about a child that still runs
    return Daemon(role, process.pid, psutil.Process(process.pid).create_time(), str(log))


def stop_daemons(daemons: Sequence[Daemon]) -> list[Daemon]:
    """End all running daemons and their child processes; return the daemons that were running."""
    running = {daemon: process for daemon in daemons if (process := daemon.find())}
    ending = list(running.values())
    for process in running.values():
        with suppress(psutil.NoSuchProcess):
            ending += process.children(recursive=True)
            process.terminate()
    for process in _wait(ending, _TERM_S):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(ending, _KILL_S)
    return list(running)


def _wait(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Return the processes that still run after the timeout.

    Zombies count as ended, unlike in `psutil.wait_procs`: a container may have no init process to remove them.
    """
    deadline_s = time.monotonic() + timeout_s
    while (left := list(filter(_runs, processes))) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def master_command(host: str, port: int, page_port: int) -> list[str]:
    """Return the command that starts a master."""
    ports = ("--port", str(port), "--webui-port", str(page_port))
    return [_spark_class(), f"{_CLASSES}.master.Master", "--host", host, *ports]


def worker_command(master: str, host: str, cores: int, memory: str, work: Path) -> list[str]:
    """Return the command that starts a worker of the master at the URL `master`, on free ports."""
    ports = ("--port", "0", "--webui-port", "0")
    size = ("--cores", str(cores), "--memory", memory)
    return [_spark_class(), f"{_CLASSES}.worker.Worker", "--host", host, *ports, *size, "-d", str(work), master]


def daemon_environment(host: str) -> dict[str, str]:
    """Return the environment of a daemon at the address `host`; the executors of a worker inherit it."""
    use_java()
    user_options = os.environ.get("SPARK_DAEMON_JAVA_OPTS", "")
    return os.environ | {
        "SPARK_HOME": str(spark_home()),
        # Otherwise the whole network could open the web pages, on which users can kill applications.
        "SPARK_LOCAL_IP": host,
        "SPARK_DAEMON_JAVA_OPTS": f"{shlex.join(_java_options())} {user_options}".strip(),
        "SPARK_DAEMON_MEMORY": os.environ.get("SPARK_DAEMON_MEMORY", "512m"),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
    }


def _spark_class() -> str:
    return str(spark_home() / "bin" / "spark-class")


def _java_options() -> list[str]:
    """Return Java options: little memory, a fast start, no REST server, and an error if a port is already used."""
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    options += ["-Dspark.master.rest.enabled=false", "-Dspark.port.maxRetries=0"]
    archive = class_archive()
    return [*options, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.is_file() else options
