"""Spark's standalone daemons: how the installed pyspark starts them, and what the master tells."""

from __future__ import annotations

import json
import os
import shlex
import sys
import urllib.request
from pathlib import Path
from typing import Any

from verger.engine.spark.java import class_archive, use_java

_CLASSES = "org.apache.spark.deploy"
_ANSWER_S = 5.0


def master_command(host: str, port: int, page_port: int) -> list[str]:
    """Return what starts a master."""
    ports = ("--port", str(port), "--webui-port", str(page_port))
    return [_spark_class(), f"{_CLASSES}.master.Master", "--host", host, *ports]


def worker_command(master: str, host: str, cores: int, memory: str, work: Path) -> list[str]:
    """Return what starts a worker of the master `master`; its own ports are free ones."""
    ports = ("--port", "0", "--webui-port", "0")
    size = ("--cores", str(cores), "--memory", memory)
    return [_spark_class(), f"{_CLASSES}.worker.Worker", "--host", host, *ports, *size, "-d", str(work), master]


def daemon_environment(host: str) -> dict[str, str]:
    """Return the environment of a daemon on the address `host`; the executors of a worker inherit it."""
    use_java()
    theirs = os.environ.get("SPARK_DAEMON_JAVA_OPTS", "")
    return os.environ | {
        "SPARK_HOME": spark_home(),
        # Without it the web pages, from which applications can be killed, are open to the network.
        "SPARK_LOCAL_IP": host,
        "SPARK_DAEMON_JAVA_OPTS": f"{shlex.join(_java_options())} {theirs}".strip(),
        "SPARK_DAEMON_MEMORY": os.environ.get("SPARK_DAEMON_MEMORY", "512m"),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
    }


def spark_home() -> str:
    """Return the Spark that pyspark itself would start."""
    from pyspark.find_spark_home import _find_spark_home

    return str(Path(_find_spark_home()).absolute())  # type: ignore[no-untyped-call]


def ask(page: str) -> dict[str, Any] | None:
    """Return what the master tells of itself and its workers, or None where it does not answer."""
    # The proxy of the environment, if any, is for other machines.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{page}/json/", timeout=_ANSWER_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except (OSError, ValueError):
        return None


def _spark_class() -> str:
    return str(Path(spark_home()) / "bin" / "spark-class")


def _java_options() -> list[str]:
    """Little memory, a fast start, a port that is taken is an error, and no server nobody asked for."""
    told = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    told += ["-Dspark.master.rest.enabled=false", "-Dspark.port.maxRetries=0"]
    archive = class_archive()
    return [*told, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.is_file() else told
