"""Azurite, Microsoft's emulator of Azure Blob Storage, on loopback: installed with npm, data in memory."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from verger.storage.atomic import fill_atomically
from verger.storage.cache import cache_dir

ACCOUNT = "devstoreaccount1"
# Azurite's well-known key: it guards nothing.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "orchard"
ROOT = f"abfs://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net"

_LOCK = Path(__file__).with_name("package-lock.json")
_START_S = 60.0


@dataclass(frozen=True)
class Server:
    """A running server with an empty container."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of obstore for this server, with its key."""
        return {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{self.port}",
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        }


def can_be_had() -> bool:
    """Return whether this machine has Node.js and npm."""
    return all(map(shutil.which, ("node", "npm")))


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[Server]:
    """Run the server; npm fetches it the first time."""
    log = scratch / "azurite.log"
    program = _fetched() / "node_modules" / ".bin" / "azurite-blob"
    command: list[str | Path] = [program, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--blobPort", "0"]
    with log.open("wb") as opened, subprocess.Popen(command, stdout=opened, stderr=subprocess.STDOUT) as process:
        try:
            server = Server(_port(log, process))
            _make_container(server)
            yield server
        finally:
            process.kill()


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if listening := re.search(r"listens on \S+:(\d+)", log.read_text(errors="replace")):
            return int(listening.group(1))
        time.sleep(0.1)
    raise RuntimeError(f"Azurite does not start: {log.read_text(errors='replace')[-2000:]}")


def _make_container(server: Server) -> None:
    """Create the container with pyarrow, as obstore cannot."""
    at = f"127.0.0.1:{server.port}"
    places = {"blob_storage_authority": at, "dfs_storage_authority": at}
    schemes = {"blob_storage_scheme": "http", "dfs_storage_scheme": "http"}
    fs.AzureFileSystem(ACCOUNT, account_key=KEY, **places, **schemes).create_dir(CONTAINER, recursive=False)


def _fetched() -> Path:
    folder = cache_dir() / f"azurite-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.is_dir():
        with fill_atomically(folder) as temporary:
            for name in (_LOCK.name, "package.json"):
                shutil.copy(_LOCK.with_name(name), temporary)
            words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(words, cwd=temporary, check=True, capture_output=True)
    return folder
