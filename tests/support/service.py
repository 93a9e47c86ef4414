"""The service `verger serve` in a process of its own, as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.chain import VERGER

OWNER = {"Authorization": "Bearer " + "o" * 43}
OTHER_OWNER = {"Authorization": "Bearer " + "x" * 43}
_ADDRESS = re.compile(r"Verger is at (\S+)")


class RunningService:
    """A started service: its process, its address, and a client for it."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: list[str]) -> None:
        self.process, self.url, self.lines = process, url, lines
        self.client = httpx2.Client(base_url=url, timeout=60)

    def kill(self) -> None:
        """End the process as the lack of memory would, and wait for its end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask the process to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def running_service(
    folder: Path, *flags: str, classifier: str = "fruitnet", **variables: str
) -> Iterator[RunningService]:
    """Start the service in a folder on a free port, wait until it is ready, and end it after the block."""
    command = [*VERGER, "serve", "--port", "0", "--classifier", classifier, "--rate", "100000/minute", *flags]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | variables, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    try:
        url = _wait_for_address(process, lines)
        reader.start()
        service = RunningService(process, url, lines)
        with service.client:
            yield service
    finally:
        process.kill()
        process.wait()
        if reader.ident:
            reader.join()
        assert process.stderr
        process.stderr.close()


def _wait_for_address(process: subprocess.Popen[str], lines: list[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if found := _ADDRESS.search(line):
            return found[1]
    raise AssertionError("the service did not start:\n" + "".join(lines))
