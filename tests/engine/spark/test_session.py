"""A Spark that runs already, as in a notebook, is used and left unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.support.chain import manifest_here
from verger import open_session
from verger.engine.spark.session import managed_session
from verger.engine.spark.spark_options import SessionOptions, spark_settings
from verger.errors import SourceError
from verger.pipeline.chain import features
from verger.process.progress import SilentProgress
from verger.settings import load_settings

pytestmark = pytest.mark.core

# Three starts in one process, as in a notebook or a script; the second is Spark's own to refuse.
_STARTS = """
import sys, time, psutil
from pathlib import Path
from pyspark import SparkContext
from verger.errors import SetupError, SourceError
from verger.engine.spark.session import managed_session
from verger.engine.spark.spark_options import SessionOptions

def rows(how):
    conf = (how,) if "=" in how else ()
    options = SessionOptions("local[1]", "512m", conf, log=Path(sys.argv[1]) / "spark.log", is_one_run=True)
    with managed_session(options) as started:
        while how == "given up" and SparkContext._gateway is None:
            time.sleep(0.01)
        if how == "given up":
            raise SourceError("there is no such folder")
        return started.spark().range(3).count()

def left():
    return [process for process in psutil.Process().children() if "java" in process.name()]

for how in ("given up", "spark.extraListeners=no.such.Class", "used"):
    try:
        outcome = rows(how)
    except (SourceError, SetupError) as error:
        outcome = error
    print(f"{outcome}, {len(left())} left", flush=True)
"""

BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


def test_a_run_leaves_the_spark_it_borrows_running(
    spark: SparkSession, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    mine = spark.newSession()
    mine.conf.set(BATCH, "7777")
    manifest = manifest_here("features", photos, "out", "--model", tiny_model, cwd=tmp_path)
    assert manifest["counts"]["features"] == 12
    assert mine.conf.get(BATCH) == "7777"
    assert mine.range(3).count() == 3


def test_a_run_that_fails_leaves_it_running_too(spark: SparkSession, tiny_model: str, tmp_path: Path) -> None:
    settings = load_settings(model=tiny_model)
    with pytest.raises(SourceError):
        features(str(tmp_path / "nowhere"), tmp_path / "out", settings, SilentProgress())
    assert spark.range(3).count() == 3


def test_a_borrowed_spark_has_our_sql_settings_and_its_own_master(spark: SparkSession) -> None:
    with managed_session(SessionOptions(master="local[64]")) as borrowed:
        assert borrowed.spark().conf.get(BATCH) == "512"
        assert borrowed.options.n_local_cores == 2
    assert open_session().conf.get(BATCH) == "512"
    assert open_session().sparkContext is spark.sparkContext


@pytest.mark.parametrize(
    ("named", "given"),
    [
        ("local", "local[1,4]"),
        ("local[*]", "local[*,4]"),
        ("local[3]", "local[3,4]"),
        ("local[3,1]", "local[3,1]"),
        ("local[*, 9]", "local[*, 9]"),
        ("local-cluster[1,1,1024]", "local-cluster[1,1,1024]"),
        ("spark://host:7077", "spark://host:7077"),
    ],
)
def test_a_local_spark_tries_tasks_again_unless_attempts_are_set(named: str, given: str) -> None:
    assert SessionOptions(named).spark_master == given


@pytest.mark.slow
def test_a_start_that_fails_leaves_no_jvm_and_the_next_start_works(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _STARTS, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "there is no such folder, 0 left",
        "Spark does not start: ClassNotFoundException: no.such.Class; check the names of classes and "
        "--conf spark.jars (try `verger doctor`), 0 left",
        "3, 0 left",
    ]
    assert "Traceback" not in done.stderr


def test_executors_are_pointed_at_the_stores_and_given_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "orchard")
    found = spark_settings(SessionOptions())
    assert found["spark.executorEnv.AWS_REGION"] == "eu-west-3"
    assert found["spark.executorEnv.AZURE_STORAGE_ACCOUNT_NAME"] == "orchard"
    assert "a-secret" not in "".join(found.values())
