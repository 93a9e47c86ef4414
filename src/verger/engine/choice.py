"""The choice of the engine for a run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from verger.engine.spark.installation import check_pyspark, find_pyspark
from verger.errors import SettingsError, SetupError
from verger.settings import DEFAULT_MASTER, ENGINES, Settings
from verger.storage.uri import is_hadoop

LOCAL, SPARK = ENGINES

NO_SPARK = "the Spark engine needs pyspark: pip install 'verger[spark]'"


@dataclass(frozen=True)
class EngineChoice:
    """The name of the chosen engine, and the reason for this choice, which the user sees."""

    name: str
    reason: str


def choose_engine(settings: Settings, src: str = "") -> EngineChoice:
    """Return the engine for a run on the source `src`.

    `--engine` decides. Without it, Spark is chosen if `--master` is given, if Spark already runs in this process,
    or if only Spark can read the source; otherwise the local engine. Raises SettingsError if the requested engine
    cannot read the source, and SetupError if pyspark is missing.
    """
    choice = _choose(settings, src)
    if choice.name == SPARK:
        pyspark = find_pyspark()
        if pyspark is None:
            raise SetupError(f"{NO_SPARK} ({choice.reason})")
        check_pyspark(pyspark)
    return choice


def _choose(settings: Settings, src: str) -> EngineChoice:
    if settings.engine == LOCAL:
        if is_hadoop(src):
            raise SettingsError("engine", LOCAL, f"{SPARK}, the only engine that reads {src}")
        if settings.master is not None:
            raise SettingsError("master", settings.master, f"none with engine = {LOCAL!r}")
        return EngineChoice(LOCAL, "--engine")
    master = settings.master or DEFAULT_MASTER
    if is_spark_running():
        return EngineChoice(SPARK, "Spark already runs in this process")
    if settings.engine == SPARK:
        return EngineChoice(SPARK, f"--engine; master {master}")
    if settings.master is not None:
        return EngineChoice(SPARK, f"--master {master}")
    if is_hadoop(src):
        return EngineChoice(SPARK, f"only Spark reads {src}; master {master}")
    return EngineChoice(LOCAL, f"processes on this machine; for Spark use --engine {SPARK} or --master")


def is_spark_running() -> bool:
    """Return whether there is a SparkContext in this process."""
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and getattr(pyspark.SparkContext, "_active_spark_context", None) is not None
