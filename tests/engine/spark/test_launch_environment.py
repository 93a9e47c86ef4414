"""Variables that another Spark has left, and the Spark that is started in spite of them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from tests.support.chain import beside_progress, verger
from verger.engine.spark.installation import find_pyspark, spark_home
from verger.engine.spark.launch_environment import find_leftovers, launch_environment
from verger.errors import SetupError

VARIABLES = ("SPARK_HOME", "PYSPARK_SUBMIT_ARGS", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_CONF_DIR")


@pytest.fixture(autouse=True)
def _without_leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def other_spark(tmp_path: Path) -> Path:
    """The folder of a Spark of another version."""
    for file in ("bin/spark-class", "jars/spark-core_2.12-3.3.1.jar"):
        (tmp_path / "spark" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "spark" / file).touch()
    return tmp_path / "spark"


def own_home() -> Path:
    found = find_pyspark()
    assert found is not None
    return found.folder


def test_a_spark_home_that_does_not_fit_is_passed_over(other_spark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spark_home() == own_home()
    monkeypatch.setenv("SPARK_HOME", "/no/spark")
    assert spark_home() == own_home()
    monkeypatch.setenv("SPARK_HOME", str(other_spark))
    assert spark_home() == own_home()
    (leftover,) = find_leftovers(is_local=True)
    assert leftover.name == "SPARK_HOME" and "is Spark 3.3.1, but the installed pyspark is" in leftover.note
    monkeypatch.setenv("SPARK_HOME", str(own_home()))
    assert find_leftovers(is_local=True) == []


def test_leftovers_are_replaced_for_the_start_and_come_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = dict(zip(VARIABLES, ("/no/spark", "--master yarn", "/no/python", "jupyter", "/no/conf"), strict=True))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C")
    with caplog.at_level(logging.WARNING), launch_environment(is_local=True, is_managed=False):
        assert os.environ["SPARK_HOME"] == str(own_home())
        assert os.environ["PYSPARK_SUBMIT_ARGS"] == "pyspark-shell"
        assert os.environ["PYSPARK_PYTHON"] == sys.executable
        assert "PYSPARK_DRIVER_PYTHON" not in os.environ
        assert os.environ["LC_ALL"] == "C.UTF-8"
    assert [os.environ[name] for name in ("SPARK_HOME", "PYSPARK_DRIVER_PYTHON", "LC_ALL")] == [
        "/no/spark",
        "jupyter",
        "C",
    ]
    assert all(name in caplog.text for name in VARIABLES[:3])


def test_the_python_of_a_cluster_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/on/every/node/python")
    assert find_leftovers(is_local=False) == []
    with launch_environment(is_local=False, is_managed=False):
        assert os.environ["PYSPARK_PYTHON"] == "/on/every/node/python"


def test_the_settings_of_yarn_are_not_passed_over(other_spark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", str(other_spark))
    started = launch_environment(is_local=False, is_managed=True)
    with pytest.raises(SetupError, match=r"SPARK_HOME = .* is Spark 3\.3\.1"), started:
        pass


def test_another_pyspark_on_pythonpath_is_named(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "python" / "pyspark").mkdir(parents=True)
    (tmp_path / "python" / "pyspark" / "__init__.py").write_text("raise SystemError('made for Python 3.7')")
    (tmp_path / "python" / "pyspark" / "version.py").write_text("__version__ = '3.3.1'\n")
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path / "python")]))
    words = ("run", photos, "out", "--model", tiny_model, "--engine", "spark")
    done = verger(*words, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 1
    assert beside_progress(done.stderr) == [
        f"error: PYTHONPATH = '{tmp_path}/python' holds pyspark 3.3.1; verger needs 3.5 to 4.1: unset PYTHONPATH"
    ]
    doctor = verger("doctor", cwd=tmp_path, PYTHONPATH=path, COLUMNS="300")
    assert doctor.returncode == 1 and "holds pyspark 3.3.1" in doctor.stdout


def test_doctor_names_leftovers_and_misspelt_variables(tmp_path: Path) -> None:
    variables = {"SPARK_HOME": "/no/spark", "PYSPARK_SUBMIT_ARGS": "--master yarn", "SPARK_REMOTE": "sc://far"}
    done = verger("doctor", cwd=tmp_path, COLUMNS="300", VERGER_MODLE="x", JAVA_HOME="/no/java", **variables)
    assert done.returncode == 1
    assert all(name in done.stdout for name in (*variables, "VERGER_MODLE", "VERGER_MODEL"))
    assert "JAVA_HOME = '/no/java' holds no Java that runs" in done.stdout
