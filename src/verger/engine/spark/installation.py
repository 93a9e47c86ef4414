"""Find the installed pyspark and the Spark that it starts, without importing pyspark."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from verger.errors import SetupError

OLDEST, NEWEST = (3, 5), (4, 1)
SUPPORTED = "3.5 to 4.1"


@dataclass(frozen=True)
class SparkRelease:
    """The version and the folder of a pyspark package, or of a Spark installation."""

    version: str
    folder: Path

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) if the version has another form."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def is_supported(self) -> bool:
        """Whether verger can use this version. A version in another form, as some platforms have, is accepted."""
        return self.series == (0, 0) or OLDEST <= self.series <= NEWEST


def find_pyspark() -> SparkRelease | None:
    """Return the pyspark that Python would import; None if there is none."""
    spec = find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        text = (folder / "version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"""__version__[^"']*["']([^"']+)""", text)
    return SparkRelease(match[1] if match else "", folder)


def check_pyspark(found: SparkRelease) -> None:
    """Raise SetupError if verger cannot use this pyspark. If PYTHONPATH selects the package, the error says so."""
    if found.is_supported:
        return
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(entry).absolute() == found.folder.parent.absolute():
            raise SetupError(
                f"PYTHONPATH = {entry!r} holds pyspark {found.version}; verger needs {SUPPORTED}: unset PYTHONPATH"
            )
    raise SetupError(
        f"pyspark {found.version} in {found.folder} cannot be used; verger needs {SUPPORTED}: "
        "pip install 'verger[spark]'"
    )


def spark_home() -> Path:
    """Return the folder of the Spark to start: SPARK_HOME if it fits the installed pyspark, else pyspark's own.

    Raises SetupError if neither can be used.
    """
    given = os.environ.get("SPARK_HOME")
    problem = spark_home_problem()
    if given and problem is None:
        return Path(given).absolute()
    pyspark = find_pyspark()
    own = pyspark.folder if pyspark else Path()
    for folder in (own / "spark-distribution", own, own.parents[1] if len(own.parents) > 1 else own):
        if _has_programs(folder):
            return folder.absolute()
    detail = problem or f"pyspark in {own} has no Spark, and SPARK_HOME is not set"
    raise SetupError(f"no Spark to start: {detail}: pip install 'verger[spark]'")


def spark_home_problem() -> str | None:
    """Return why SPARK_HOME cannot be used; None if it can be used or is not set."""
    value = os.environ.get("SPARK_HOME")
    if not value:
        return None
    home = Path(value)
    if not _has_programs(home):
        return f"SPARK_HOME = {value!r} is not the folder of a Spark (it has no bin/spark-class)"
    found, pyspark = _release_of(home), find_pyspark()
    if found is None or pyspark is None or (0, 0) in (found.series, pyspark.series):
        return None
    if found.series != pyspark.series:
        return f"SPARK_HOME = {value!r} is Spark {found.version}, but the installed pyspark is {pyspark.version}"
    return None


def _has_programs(home: Path) -> bool:
    try:
        return (home / "bin" / "spark-class").is_file()
    except OSError:  # no permission
        return False


def _release_of(home: Path) -> SparkRelease | None:
    """Return the version of a Spark, from the name of a jar; None if the jar is missing."""
    for jar in home.glob("jars/spark-core_*.jar"):
        return SparkRelease(jar.stem.rpartition("_")[2].partition("-")[2], home)
    return None
