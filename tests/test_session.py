"""A Spark that runs already, as in a notebook, is used and left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.chain import manifest_here
from verger import open_session
from verger.errors import SourceError
from verger.pipeline import features
from verger.progress import Silent
from verger.session import SessionOptions, session
from verger.settings import load_settings

pytestmark = pytest.mark.core

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
        features(str(tmp_path / "nowhere"), tmp_path / "out", settings, Silent())
    assert spark.range(3).count() == 3


def test_a_borrowed_spark_has_our_sql_settings_and_its_own_master(spark: SparkSession) -> None:
    with session(SessionOptions(master="local[64]")) as borrowed:
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
def test_a_local_spark_tries_tasks_again_unless_told_how_often(named: str, given: str) -> None:
    assert SessionOptions(named).spark_master == given
