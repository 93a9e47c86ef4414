"""What a cluster's nodes are given: verger, all that it needs, and the scripts that install it without a network.

A folder, to be uploaded as it is: bootstrap.sh (EMR), init.sh (Dataproc, Databricks), install.sh (which both call),
main.py (what spark-submit runs), the notebook, requirements.txt with the hash of every wheel, wheels/, and
package.json, which names the Python, processor and Spark that it is for and the SHA-256 of each file. pyspark is
not among the wheels: a node's Spark brings its own. The versions are those of requirements/node-*.lock, which the
tests run with.
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
# In a wheel of verger they are beside this file, in a checkout where they are made.
_LOCK_FOLDERS = (Path(__file__).with_name("locks"), Path(__file__).parents[4] / "requirements")

_NOTEBOOKS = (
    Path(__file__).with_name("verger.ipynb"),
    Path(__file__).parents[4] / "notebooks" / "verger.ipynb",
)

# The oldest C library that wheels were ever built for (manylinux2014).
_OLDEST_GLIBC = 17
_MB = 1e6


@dataclass(frozen=True)
class Target:
    """The nodes that a package is for; raises SettingsError for what verger does not run on.

    glibc: that of their Linux; 2.34 in EMR's Amazon Linux 2023, 2.36 in Dataproc's Debian 12.
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
        """The tags of the wheels that run there, the newest first."""
        newest = int(self.glibc.removeprefix("2."))
        tags = [f"manylinux_2_{minor}_{self.arch}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
        older = ("manylinux2014", "manylinux2010", "manylinux1") if self.arch == "x86_64" else ("manylinux2014",)
        return tags + [f"{name}_{self.arch}" for name in older]


def build(folder: Path, target: Target, say: Say) -> None:
    """Make the package, or bring it up to date: wheels that are there and whole are not fetched again.

    Raises CloudError where something has no wheel for the target, SetupError where pip lacks or the index is
    not reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = read_lock(target.spark)
    made_for = asdict(target) | {"lock": _digest(lock.encode())}
    name, wheel = own_wheel()
    if _made_for(folder) == made_for:
        say(f"the wheels are there already ({target})")
        for old in (folder / WHEELS).glob("verger-*.whl"):
            old.unlink()
    else:
        _fetch(folder, lock, target, say)
    (folder / WHEELS / name).write_bytes(wheel)
    own = f"verger=={version('verger')} --hash=sha256:{_digest(wheel)}\n"
    (folder / REQUIREMENTS).write_text(lock + own)
    for script in _SCRIPTS.iterdir():
        if script.is_file():
            shutil.copyfile(script, folder / script.name)
    for notebook in filter(Path.is_file, _NOTEBOOKS):
        shutil.copyfile(notebook, folder / notebook.name)
    n_bytes = _write_manifest(folder, made_for)
    say(f"{folder}: {n_bytes / _MB:.0f} MB, verger {version('verger')} for {target}")


def read_lock(spark: str) -> str:
    """Return the lock of what a node needs beside this Spark; raises SetupError."""
    for folder in _LOCK_FOLDERS:
        if (folder / LOCKS[spark]).is_file():
            return (folder / LOCKS[spark]).read_text()
    looked = " nor in ".join(map(str, _LOCK_FOLDERS))
    raise SetupError(f"{LOCKS[spark]} is neither in {looked}: install verger anew")


def check_package(folder: Path, target: Target) -> None:
    """Raise CloudError unless the package in `folder` is for nodes of the target's Python, Spark and processor."""
    made_for = _made_for(folder) or {}
    found = (made_for.get("python"), made_for.get("arch"), LOCKS.get(str(made_for.get("spark"))))
    if found != (target.python, target.arch, LOCKS[target.spark]):
        flags = f"--python {target.python} --spark {target.spark} --arch {target.arch}"
        raise CloudError(
            f"{folder} holds no package for these machines ({target}): verger cloud package {folder} {flags}"
        )


def _made_for(folder: Path) -> dict[str, Any] | None:
    """Return what the package in `folder` was made for; None where there is none, or it is not whole."""
    try:
        told = json.loads((folder / MANIFEST).read_text())
        wheels = {name: digest for name, digest in told.pop("files").items() if name.startswith(WHEELS)}
        is_whole = all(_digest((folder / name).read_bytes()) == digest for name, digest in wheels.items())
    except (OSError, ValueError, KeyError):
        return None
    told.pop("verger", None)
    return told if is_whole else None


def _fetch(folder: Path, lock: str, target: Target, say: Say) -> None:
    """Let pip fetch the wheels, those for the target and no others."""
    (folder / MANIFEST).unlink(missing_ok=True)  # until all is there this is no package
    shutil.rmtree(folder / WHEELS, ignore_errors=True)
    requirements = folder / REQUIREMENTS
    requirements.write_text(lock)
    say(f"fetching {lock.count('==')} packages for {target}")
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder / WHEELS)]
    command += [*platforms, "--implementation", "cp", "--python-version", target.python, "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _why(done.stderr, target)


def _why(said: str, target: Target) -> CloudError | SetupError:
    """Return what pip's words come to."""
    if "No module named pip" in said:
        return SetupError("wheels are fetched by pip, and this Python has none: python -m ensurepip")
    lacking = re.search(r"No matching distribution found for (\S+)", said)
    if lacking and "from versions: none" not in said:
        return CloudError(
            f"{lacking.group(1)} has no wheel for {target}: choose other machines (x86_64 has them all), or an "
            "image with a newer Linux"
        )
    return SetupError("pip does not get the wheels: " + "; ".join(said.strip().splitlines()[-2:]))


def _write_manifest(folder: Path, made_for: dict[str, Any]) -> int:
    """Write package.json, last, and return the bytes of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    digests = {path.relative_to(folder).as_posix(): _digest(path.read_bytes()) for path in files}
    told = {"verger": version("verger")} | made_for | {"files": digests}
    (folder / MANIFEST).write_text(json.dumps(told, indent=2) + "\n")
    return sum(path.stat().st_size for path in files)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
