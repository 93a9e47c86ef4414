"""S3Proxy: an S3 server on loopback that checks signatures, in a process of its own. It keeps files in a folder."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.maven import Jars, Module, obtain
from tests.support.ports import free_ports
from tests.support.s3_environment import BUCKET as BUCKET
from tests.support.s3_environment import KEY_ID as KEY_ID
from tests.support.s3_environment import SECRET as SECRET
from tests.support.s3_environment import s3_environment
from verger.engine.spark.java import use_java

_VERSION = "4.1.0"
_JAR = Module("org.gaul", "s3proxy", _VERSION, is_alone=True, classifier="jar-with-dependencies")
_START_S = 60.0
_REQUEST = re.compile(r"request: .*\{([A-Z]+)@\w+ (\S+) HTTP")
_LISTING = re.compile(r"[?&](list-type|prefix)=")


@dataclass(frozen=True)
class Server:
    """A running server; the files in `folder` are the objects of its bucket."""

    endpoint: str
    folder: Path
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of clients of this server."""
        return s3_environment(self.endpoint)

    def requests(self) -> Counter[str]:
        """Return the number of requests of each kind, if the server logs them."""
        found = _REQUEST.findall(self.log.read_text(errors="replace"))
        return Counter("LIST" if _LISTING.search(url) else method for method, url in found)


@contextlib.contextmanager
def serving(scratch: Path, *, logs_requests: bool = False) -> Iterator[Server]:
    """Run the server, fetched from Maven the first time, with a bucket of the files in the folder."""
    (jar,) = obtain(Jars(f"s3proxy-{_VERSION}", (_JAR,)))
    (port,), folder = free_ports(1), scratch / "buckets" / BUCKET
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "s3proxy.endpoint": f"http://127.0.0.1:{port}",
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": KEY_ID,
        "s3proxy.credential": SECRET,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": folder.parent,
    }
    (scratch / "s3proxy.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command: list[str | Path] = [
        use_java().home / "bin" / "java",
        f"-DLOG_LEVEL={'debug' if logs_requests else 'warn'}",
    ]
    command += ["-jar", jar, "--properties", scratch / "s3proxy.properties"]
    log = scratch / "s3proxy.log"
    with log.open("wb") as opened, subprocess.Popen(command, stdout=opened, stderr=subprocess.STDOUT) as process:
        try:
            _wait_for(port, process, log)
            yield Server(f"http://127.0.0.1:{port}", folder, log)
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"S3Proxy does not start: {log.read_text(errors='replace')[-2000:]}")
