"""A Hadoop file system on loopback: the namenode and datanode of Hadoop's test cluster, in one JVM."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.maven import Jars, Module, obtain, spark_jars, version_of
from tests.support.ports import free_ports
from verger.engine.spark.java import use_java

_START_S = 180.0


@contextmanager
def serving() -> Iterator[str]:
    """Start the file system; yield its URI."""
    with tempfile.TemporaryDirectory(prefix="verger-hdfs-") as folder:
        (port,), ready = free_ports(1), Path(folder) / "ready.xml"
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(_command(port, ready), cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _START_S
            while not ready.is_file():
                assert server.poll() is None and time.monotonic() < deadline, (Path(folder) / "log").read_text()
                time.sleep(0.2)
            yield f"hdfs://localhost:{port}"
        finally:
            server.kill()
            server.wait()


def _command(port: int, ready: Path) -> list[str]:
    classes = os.pathsep.join([*map(str, _jars()), f"{spark_jars()}/*"])
    command = [str(use_java().home / "bin" / "java"), "-Xmx512m", "-XX:+UseSerialGC", "-cp", classes]
    command += ["org.apache.hadoop.test.MiniDFSClusterManager", "-format", "-datanodes", "1"]
    return [*command, "-nnport", str(port), "-writeConfig", str(ready)]


def _jars() -> list[Path]:
    """The version that fits the installed Spark's client; fetched from Maven the first time, 40 MB."""
    hadoop = version_of("hadoop-client-api-([0-9.]+).jar")
    cluster = Module("org.apache.hadoop", "hadoop-client-minicluster", hadoop, is_alone=True)
    junit = Module("junit", "junit", "4.13.2", is_alone=True)
    return obtain(Jars(f"minicluster-{hadoop}", (cluster, junit)))
