"""The package for a cluster's nodes: verger, its dependencies, and scripts that install them without a network.

The package is a folder to upload. It contains bootstrap.sh (EMR), init.sh (Dataproc, Databricks), install.sh
(called by both), main.py (run by spark-submit), the notebook, wheels/, requirements.txt with the hash of every
wheel, and package.json with the SHA-256 of each file and the Python, processor and Spark for which the package is
built. There is no wheel of pyspark, because the node's Spark contains pyspark. The lock files
requirements/node-*.lock fix the versions; the tests use the same files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from verger.cloud.deploy.provider import Say
from verger.cloud.deploy.wheel import own_wheel
from verger.errors import CloudError, SettingsError, SetupError

MANIFEST, REQUIREMENTS, WHEELS = "package.json", "requirements.txt", "wheels"

PYTHONS = ("3.11", "3.12", "3.13")
ARCHS = ("x86_64", "aarch64")
LOCKS = {"3.5": "node-spark35.lock", "4.0": "node-spark40.lock", "4.1": "node-spark40.lock"}

_SCRIPTS = Path(__file__).with_name("node")
# Folders of the lock files: in an installed verger beside this file, in a checkout requirements/.
_LOCK_FOLDERS = (Path(__file__).with_name("locks"), Path(__file__).parents[4] / "requirements")

_NOTEBOOKS = (
    Path(__file__).with_name("verger.ipynb"),
    Path(__file__).parents[4] / "notebooks" / "verger.ipynb",
)

# Minor version of the oldest C library for which wheels are built: 2.17 (manylinux2014).
_OLDEST_GLIBC_MINOR = 17
_MB = 1e6


@dataclass(frozen=True)
class Target:
    """The kind of nodes for which a package is built. Raises SettingsError if verger does not support such nodes.

    glibc: version of the nodes' C library; EMR's Amazon Linux 2023 has 2.34, Dataproc's Debian 12 has 2.36.
    """

    python: str = "3.11"
    arch: str = "x86_64"
    spark: str = "3.5"
    glibc: str = "2.34"

    def __post_init__(self) -> None:
        for key, valid in (("python", PYTHONS), ("arch", ARCHS), ("spark", tuple(LOCKS))):
            if getattr(self, key) not in valid:
                raise SettingsError(key, getattr(self, key), valid)
        if not re.fullmatch(r"2\.\d+", self.glibc):
            raise SettingsError("glibc", self.glibc, "a version of the GNU C library: 2.34")

    def __str__(self) -> str:
        return f"Python {self.python}, {self.arch}, glibc {self.glibc}, Spark {self.spark}"

    @property
    def platforms(self) -> list[str]:
        """Platform tags of wheels that run on these nodes, the newest tag first."""
        newest = int(self.glibc.removeprefix("2."))
        tags = [f"manylinux_2_{minor}_{self.arch}" for minor in range(newest, _OLDEST_GLIBC_MINOR - 1, -1)]
        older = ("manylinux2014", "manylinux2010", "manylinux1") if self.arch == "x86_64" else ("manylinux2014",)
        return tags + [f"{name}_{self.arch}" for name in older]


def build(folder: Path, target: Target, say: Say) -> None:
    """Create or update the package. If all wheels are present, they are not downloaded again.

    Raises CloudError if a dependency has no wheel for the target, SetupError if pip is missing or cannot reach the
    package index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = read_lock(target.spark)
    target_keys = asdict(target) | {"lock": _digest(lock.encode())}
    name, wheel = own_wheel()
    if _read_target_keys(folder) == target_keys:
        say(f"the wheels are already complete ({target})")
        for old in (folder / WHEELS).glob("verger-*.whl"):
            old.unlink()
    else:
        _download(folder, lock, target, say)
    (folder / WHEELS / name).write_bytes(wheel)
    own = f"verger=={version('verger')} --hash=sha256:{_digest(wheel)}\n"
    (folder / REQUIREMENTS).write_text(lock + own)
    for script in _SCRIPTS.iterdir():
        if script.is_file():
            shutil.copyfile(script, folder / script.name)
    for notebook in filter(Path.is_file, _NOTEBOOKS):
        shutil.copyfile(notebook, folder / notebook.name)
    n_bytes = _write_manifest(folder, target_keys)
    say(f"{folder}: {n_bytes / _MB:.0f} MB, verger {version('verger')} for {target}")


def read_lock(spark: str) -> str:
    """Return the text of the lock file for nodes with this Spark; raises SetupError if the file is missing."""
    for folder in _LOCK_FOLDERS:
        if (folder / LOCKS[spark]).is_file():
            return (folder / LOCKS[spark]).read_text()
    folders = " nor in ".join(map(str, _LOCK_FOLDERS))
    raise SetupError(f"{LOCKS[spark]} is neither in {folders}: install verger again")


def check_package(folder: Path, target: Target) -> None:
    """Raise CloudError unless the package in `folder` is for the target's Python, Spark and processor."""
    keys = _read_target_keys(folder) or {}
    if (keys.get("python"), keys.get("arch"), LOCKS.get(str(keys.get("spark")))) != (
        target.python,
        target.arch,
        LOCKS[target.spark],
    ):
        flags = f"--python {target.python} --spark {target.spark} --arch {target.arch}"
        raise CloudError(
            f"{folder} has no package for these machines ({target}): run verger cloud package {folder} {flags}"
        )


def _read_target_keys(folder: Path) -> dict[str, Any] | None:
    """Return target and lock from the package.json in `folder`; None if the package is incomplete."""
    try:
        keys = json.loads((folder / MANIFEST).read_text())
        wheels = {name: digest for name, digest in keys.pop("files").items() if name.startswith(WHEELS)}
        is_complete = all(_digest((folder / name).read_bytes()) == digest for name, digest in wheels.items())
    except (OSError, ValueError, KeyError):
        return None
    keys.pop("verger", None)
    return keys if is_complete else None


def _download(folder: Path, lock: str, target: Target, say: Say) -> None:
    """Download the target's wheels with pip."""
    (folder / MANIFEST).unlink(missing_ok=True)  # an incomplete package must not have this file
    shutil.rmtree(folder / WHEELS, ignore_errors=True)
    requirements = folder / REQUIREMENTS
    requirements.write_text(lock)
    say(f"downloading {lock.count('==')} packages for {target}")
    platforms = [argument for tag in target.platforms for argument in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder / WHEELS)]
    command += [*platforms, "--implementation", "cp", "--python-version", target.python, "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _translate(done.stderr, target)


def _translate(stderr: str, target: Target) -> CloudError | SetupError:
    """Translate pip's error output into an error of verger."""
    if "No module named pip" in stderr:
        return SetupError("this Python has no pip to download the wheels: run python -m ensurepip")
    missing = re.search(r"No matching distribution found for (\S+)", stderr)
    if missing and "from versions: none" not in stderr:
        return CloudError(
            f"{missing.group(1)} has no wheel for {target}: choose other machines (x86_64 has all wheels), or an "
            "image with a newer Linux"
        )
    return SetupError("pip cannot download the wheels: " + "; ".join(stderr.strip().splitlines()[-2:]))


def _write_manifest(folder: Path, target_keys: dict[str, Any]) -> int:
    """Write package.json, the last file of the package; return the size of all other files in bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    digests = {path.relative_to(folder).as_posix(): _digest(path.read_bytes()) for path in files}
    manifest = {"verger": version("verger")} | target_keys | {"files": digests}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return sum(path.stat().st_size for path in files)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
