"""Upload the package to the deployment's bucket: every file, and for batches also one archive of all wheels."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from verger.cloud.deploy.provider import Say
from verger.cloud.gcp.clients import Clients
from verger.cloud.gcp.names import Names
from verger.cloud.gcp.requests import SITE

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

_TIMEOUT_S = 300
_EVENTS = "events/.keep"  # Spark refuses an event log in a folder that does not exist


def put_package(clients: Clients, names: Names, package: Path, say: Say, *, as_archive: bool) -> None:
    """Upload the package; an older package is replaced."""
    bucket = clients.storage.bucket(names.bucket)
    bucket.blob(_EVENTS).upload_from_string(b"", timeout=_TIMEOUT_S)
    files = sorted(file for file in package.rglob("*") if file.is_file())
    for file in files:
        _upload(bucket, file.relative_to(package).as_posix(), file)
    say(f"uploaded {len(files)} files of the package to {names.package}")
    if as_archive:
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / SITE
            pack_site(package, archive)
            _upload(bucket, SITE, archive)
        say(f"{names.package}/{SITE}")


def pack_site(package: Path, archive: Path) -> None:
    """Write an archive of the unpacked wheels, which Spark can put on PYTHONPATH."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        for wheel in sorted((package / "wheels").glob("*.whl")):
            with zipfile.ZipFile(wheel) as opened:
                opened.extractall(scratch)  # noqa: S202 (our own package, whose hashes are known)
        with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
            packed.add(scratch, arcname=".")


def _upload(bucket: Bucket, name: str, file: Path) -> None:
    bucket.blob(f"packages/{name}").upload_from_filename(str(file), timeout=_TIMEOUT_S)
