"""How Spark is set up: what the caller asks for, and what photos want of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from verger.engine.spark.cluster_options import cluster_cores, cluster_settings
from verger.engine.spark.java import class_archive
from verger.spark_master import is_connect
from verger.storage.objects import s3_endpoint, s3_region

# Up to so many cores one thread collects the garbage: the JVM has little, and the workers need the cores.
MAX_SERIAL_GC_CORES = 4

# Attempts at a task, as on a cluster; left to itself a local Spark gives up at the first worker that dies.
_LOCAL_ATTEMPTS = 4

_SCRATCH = "/tmp"  # noqa: S108  # Spark's own default

_LOG4J = Path(__file__).with_name("log4j2.properties")
_DISCOVER_GPUS = Path(__file__).with_name("discover-gpus")


@dataclass(frozen=True)
class SessionOptions:
    """How to reach Spark.

    log: takes what the JVM says; None leaves it on stderr.
    is_one_run: the JVM serves one run of the command line; it is tuned to start fast.
    computes_in_jvm: Spark ML will work there: the JVM may take its time to compile well.
    preload: modules that the workers import while the JVM is still starting.
    uses_gpus: tasks run on GPUs; a cluster is asked for them, a local master gives none out.
    archive_classes_to: where to leave an archive of the classes this session loads (`class_archive`).
    """

    master: str = "local[*]"
    driver_memory: str = "2g"
    conf: tuple[str, ...] = ()
    log: Path | None = None
    is_one_run: bool = False
    computes_in_jvm: bool = False
    preload: tuple[str, ...] = ()
    uses_gpus: bool = False
    archive_classes_to: Path | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether Spark runs in one JVM on this machine."""
        return self.master.startswith("local")

    @property
    def spark_master(self) -> str:
        """The master as Spark is given it: a local one tries a task more than once, unless told how often."""
        asked = re.fullmatch(r"local(?:\[([^,]+)\])?", self.master)
        return f"local[{asked.group(1) or 1},{_LOCAL_ATTEMPTS}]" if asked else self.master

    @property
    def scratch_folders(self) -> list[Path]:
        """Where Spark keeps on this machine what does not fit into memory; none on a cluster."""
        named = os.environ.get("SPARK_LOCAL_DIRS") or given_settings(self).get("spark.local.dir") or _SCRATCH
        return [Path(folder.strip()) for folder in named.split(",")] if self.is_local else []

    @property
    def is_connect(self) -> bool:
        """Tell whether Spark is somebody's server (Spark Connect), which is not ours to set up."""
        return is_connect(self.master)

    @property
    def schedules_resources(self) -> bool:
        """Tell whether Spark hands out GPUs: not where one JVM is driver and executor (local, local[4])."""
        return re.match(r"local($|\[)", self.master) is None

    @property
    def n_local_cores(self) -> int | None:
        """How many tasks run at a time on a local master; None on a cluster."""
        if not self.is_local:
            return None
        asked = re.match(r"local\[(\d+)", self.master)
        if asked:
            return int(asked.group(1))
        return len(os.sched_getaffinity(0)) if self.master.startswith("local[*") else 1

    @property
    def n_cores(self) -> int:
        """How many tasks run at a time; on a cluster as far as can be known (see `clusters`)."""
        return self.n_local_cores or cluster_cores(self.master, given_settings(self))


def given_settings(options: SessionOptions) -> dict[str, str]:
    """Return the settings that the caller gives."""
    return {key: value for key, _, value in (pair.partition("=") for pair in options.conf)}


def sql_settings(options: SessionOptions) -> dict[str, str]:
    """Return what a session is set to, on a Spark of our own or a borrowed one; the caller's come last."""
    settings = {
        "spark.sql.session.timeZone": "UTC",
        # Arrow counts rows, not bytes: 10,000 photos or wide vectors would fill a worker.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "512",
        # Workers started early by an RDD are found again by SQL only if both are set up alike.
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    }
    return settings | given_settings(options)


def spark_settings(options: SessionOptions) -> dict[str, str]:
    """Return all that a Spark of our own starts with; the caller's settings come last. Raises SetupError."""
    settings = {
        "spark.driver.memory": options.driver_memory,
        "spark.driver.extraJavaOptions": " ".join(_java_options(options)),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # One thread a worker process: BLAS must not start one for every core in each of them.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        **_store_environment(),
    }
    if options.is_local:
        # No name look-up to talk to oneself.
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
    else:
        settings |= cluster_settings(options.master, given_settings(options), _fast_start(options))
    if options.uses_gpus and options.schedules_resources:
        settings |= _gpu_settings()
    return settings | sql_settings(options)


def _store_environment() -> dict[str, str]:
    """Point executors at the stores that this machine uses; their credentials are their own."""
    uses_s3 = s3_endpoint() or os.environ.keys() & {"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"}
    names = {
        "AWS_ENDPOINT_URL": s3_endpoint(),
        "AWS_PROFILE": os.environ.get("AWS_PROFILE"),
        "AWS_REGION": s3_region() if uses_s3 else None,
        "AZURE_STORAGE_ACCOUNT_NAME": os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"),
    }
    given = {name: value for name, value in names.items() if value}
    return {f"spark.executorEnv.{name}": value for name, value in given.items()}


def _gpu_settings() -> dict[str, str]:
    """An executor with one GPU, and one task at a time on it: one inference session a GPU."""
    return {
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.resource.gpu.vendor": "nvidia.com",
        "spark.executor.resource.gpu.discoveryScript": str(_DISCOVER_GPUS),
        "spark.task.resource.gpu.amount": "1",
    }


def _java_options(options: SessionOptions) -> list[str]:
    told = [] if options.log is None else [f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}"]
    return told + _fast_start(options)


def _fast_start(options: SessionOptions) -> list[str]:
    """Where the JVM only moves rows it should start fast and leave the cores to the workers.

    Spark ML's vectorised BLAS is a hundred times as slow without the JVM's second compiler.
    """
    if not options.is_one_run:
        return []
    is_small = (options.n_local_cores or 1) <= MAX_SERIAL_GC_CORES
    told = [] if options.computes_in_jvm else ["-XX:TieredStopAtLevel=1"]
    told += ["-XX:+UseSerialGC" if is_small else "-XX:+UseParallelGC"]
    if options.archive_classes_to is not None:
        return [*told, f"-XX:ArchiveClassesAtExit={options.archive_classes_to}", "-Xlog:disable"]
    archive = class_archive()
    # One that does not fit any more is passed over by the JVM, which says so: nobody needs to know.
    return [*told, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.is_file() else told
