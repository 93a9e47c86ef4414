"""YARN on loopback: Hadoop's own resource manager and node manager, of the jars of its test cluster."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.hdfs import _jars
from tests.support.maven import Jars, Module, obtain, spark_jars
from tests.support.ports import free_ports
from verger.engine.spark.java import use_java

_START_S = 180.0
_SERVERS = {
    "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
}
# What they are compiled against, and the jar of the test cluster leaves out.
_MORE = (
    Module("org.bouncycastle", "bcprov-jdk18on", "1.78.1", is_alone=True),
    Module("org.bouncycastle", "bcpkix-jdk18on", "1.78.1"),
    Module("org.glassfish.jaxb", "jaxb-runtime", "2.3.1"),
    Module("javax.activation", "activation", "1.1.1"),
)
MEMORY_MB = 6144


@contextmanager
def serving() -> Iterator[Path]:
    """Start it; yield the folder for HADOOP_CONF_DIR."""
    with tempfile.TemporaryDirectory(prefix="verger-yarn-") as folder, ExitStack() as stack:
        root = Path(folder)
        conf, web = _configuration(root)
        for name, program in _SERVERS.items():
            log = stack.enter_context((root / f"{name}.log").open("wb"))
            server = subprocess.Popen(_command(conf, program), cwd=root, stdout=log, stderr=log)
            stack.callback(server.wait)
            stack.callback(server.kill)
        deadline = time.monotonic() + _START_S
        while not _has_node(web):
            assert time.monotonic() < deadline, (root / "resourcemanager.log").read_text()[-3000:]
            time.sleep(0.5)
        yield conf


def _configuration(root: Path) -> tuple[Path, str]:
    """Write the settings; return their folder, and the address of the web page."""
    conf, web = root / "conf", f"127.0.0.1:{free_ports(1)[0]}"
    conf.mkdir()
    _write(conf / "core-site.xml", {"fs.defaultFS": "file:///", "hadoop.tmp.dir": str(root / "tmp")})
    at = {
        name: f"127.0.0.1:{free_ports(1)[0]}"
        for name in (
            *("resourcemanager.address", "resourcemanager.scheduler.address", "resourcemanager.admin.address"),
            *("resourcemanager.resource-tracker.address", "nodemanager.address", "nodemanager.webapp.address"),
            *("nodemanager.localizer.address", "nodemanager.collector-service.address"),
        )
    }
    settings = at | {
        "resourcemanager.webapp.address": web,
        "resourcemanager.scheduler.class": (
            "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler"
        ),
        "scheduler.minimum-allocation-mb": "128",
        "nodemanager.resource.memory-mb": str(MEMORY_MB),
        "nodemanager.resource.cpu-vcores": "4",
        "nodemanager.vmem-check-enabled": "false",
        "nodemanager.local-dirs": str(root / "local"),
        "nodemanager.log-dirs": str(root / "logs"),
        # A machine whose disk is nearly full is still good enough for a test.
        "nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99",
    }
    _write(conf / "yarn-site.xml", {f"yarn.{key}": value for key, value in settings.items()})
    return conf, web


def _write(file: Path, settings: dict[str, str]) -> None:
    lines = (
        f"<property><name>{key}</name><value>{escape(value)}</value></property>" for key, value in settings.items()
    )
    file.write_text("<configuration>" + "\n".join(lines) + "</configuration>\n")


def _command(conf: Path, main: str) -> list[str]:
    classes = os.pathsep.join(map(str, [conf, *_jars(), *_more(), f"{spark_jars()}/*"]))
    opened = [
        word for name in ("java.lang", "java.util") for word in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")
    ]
    return [str(use_java().home / "bin" / "java"), "-Xmx384m", "-XX:+UseSerialGC", *opened, "-cp", classes, main]


def _more() -> list[Path]:
    return obtain(Jars("yarn-more", _MORE))


def _has_node(web: str) -> bool:
    with suppress(OSError, ValueError), urllib.request.urlopen(f"http://{web}/ws/v1/cluster/nodes") as answer:
        return any(node["state"] == "RUNNING" for node in json.load(answer)["nodes"] or ())
    return False
