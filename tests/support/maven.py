"""Jars from Maven for the tests' servers, fetched once into the cache by the Ivy in Spark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from jinja2 import Template

from verger.engine.spark.java import use_java
from verger.storage.atomic import fill_atomically
from verger.storage.cache import cache_dir

_IVY = """<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">
  <info organisation="verger" module="tests"/>
  <dependencies>
  {%- for module in modules %}
    <dependency org="{{ module.org }}" name="{{ module.name }}" rev="{{ module.version }}"
      {%- if module.is_alone %} transitive="false"{% endif %} conf="default->runtime,compile,master">
      {%- if module.classifier %}
      <artifact name="{{ module.name }}" type="jar" ext="jar" m:classifier="{{ module.classifier }}"/>
      {%- endif %}
    </dependency>
  {%- endfor %}
  </dependencies>
</ivy-module>
"""


@dataclass(frozen=True)
class Module:
    """A Maven module; `is_alone`: without its dependencies."""

    org: str
    name: str
    version: str
    is_alone: bool = False
    classifier: str = ""


@dataclass(frozen=True)
class Jars:
    """The modules that a server needs; `name` is the folder of their jars in the cache."""

    name: str
    modules: tuple[Module, ...]

    @property
    def folder(self) -> Path:
        """The folder of its jars."""
        return cache_dir() / "jars" / self.name

    @property
    def files(self) -> list[Path]:
        """The jars that are in the folder."""
        return sorted(self.folder.glob("*.jar"))


def obtain(jars: Jars) -> list[Path]:
    """Return the files of these jars; fetch them first if they are missing."""
    if jars.files:
        return jars.files
    with tempfile.TemporaryDirectory() as scratch, fill_atomically(jars.folder) as temporary:
        done = _retrieve(jars, Path(scratch))
        found = Path(scratch) / "jars"
        assert done.returncode == 0 and any(found.glob("*.jar")), done.stdout + done.stderr
        shutil.copytree(found, temporary, dirs_exist_ok=True)
    return jars.files


def _retrieve(jars: Jars, scratch: Path) -> subprocess.CompletedProcess[str]:
    asked = scratch / "ivy.xml"
    asked.write_text(Template(_IVY).render(modules=jars.modules))
    own_jars = [str(jar) for name in ("ivy-*.jar", "commons-cli-*.jar") for jar in spark_jars().glob(name)]
    command = [use_java().home / "bin" / "java", "-cp", os.pathsep.join(own_jars), "org.apache.ivy.Main"]
    command += [
        "-ivy",
        asked,
        "-cache",
        scratch / "ivy",  # two that fetch at once spoil a common one
        "-types",
        "jar",
        "bundle",
        "-confs",
        "default",
        "-warn",
    ]
    command += ["-retrieve", f"{scratch}/jars/[artifact]-[revision](-[classifier]).[ext]"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def spark_jars() -> Path:
    """Return the folder of Spark's own jars."""
    home = os.environ.get("SPARK_HOME")
    return Path(home) / "jars" if home else Path(str(distribution("pyspark").locate_file("pyspark/jars")))


@cache
def version_of(pattern: str) -> str:
    """Return what the first group of a pattern matches in the name of one of Spark's own jars."""
    for jar in spark_jars().glob("*.jar"):
        if match := re.fullmatch(pattern, jar.name):
            return match.group(1)
    raise AssertionError(f"no jar in {spark_jars()} matches {pattern}")
