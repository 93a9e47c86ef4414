"""The choice of the engine, and the message about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.support.chain import verger
from verger.engine import choice
from verger.engine.choice import choose_engine
from verger.errors import SettingsError, SetupError
from verger.settings import load_settings


@pytest.fixture(autouse=True)
def _no_spark_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_spark_running", lambda: False)


@pytest.mark.parametrize(
    ("given", "src", "expected", "words"),
    [
        ({}, "photos", "local", "--engine spark"),
        ({"engine": "local"}, "photos", "local", "--engine"),
        ({"engine": "spark"}, "photos", "spark", "local[*]"),
        ({"engine": "spark", "master": "local[2]"}, "photos", "spark", "local[2]"),
        ({"master": "spark://host:7077"}, "photos", "spark", "--master spark://host:7077"),
        ({}, "hdfs://host/photos", "spark", "only Spark reads hdfs://host/photos"),
        ({}, "s3a://bucket/photos", "local", "--engine spark"),
    ],
)
def test_the_engine_follows_from_settings_and_source(
    given: dict[str, Any], src: str, expected: str, words: str
) -> None:
    found = choose_engine(load_settings(**given), src)
    assert found.name == expected
    assert words in found.reason


def test_a_running_spark_is_used_unless_the_local_engine_is_asked_for(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert choose_engine(load_settings()).name == "spark"
    assert choose_engine(load_settings(engine="local")).name == "local"


@pytest.mark.parametrize(
    ("given", "src"), [({}, "hdfs://host/photos"), ({"master": "local[2]"}, "photos")], ids=["source", "master"]
)
def test_what_the_local_engine_cannot_do_is_refused(given: dict[str, Any], src: str) -> None:
    with pytest.raises(SettingsError, match="local"):
        choose_engine(load_settings(engine="local", **given), src)


def test_without_pyspark_spark_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_pyspark", lambda: None)
    with pytest.raises(SetupError, match=r"pip install 'verger\[spark\]'"):
        choose_engine(load_settings(engine="spark"))
    assert choose_engine(load_settings()).name == "local"


def test_a_run_says_which_engine_it_uses_and_why(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    done = verger("features", photos, "out", "--model", tiny_model, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "engine: local (processes on this machine; for Spark use --engine spark or --master)" in done.stderr
