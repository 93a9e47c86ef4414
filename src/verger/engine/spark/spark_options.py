"""Spark settings: those of the caller, and those that verger needs."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from verger.engine.spark.cluster_options import cluster_cores, cluster_settings
from verger.engine.spark.java import class_archive
from verger.settings.spark_master import is_connect
from verger.storage.objects import s3_endpoint, s3_region

# Up to this number of cores, the JVM's garbage collector has one thread: there is little garbage, and the Python
# workers need the cores.
MAX_SERIAL_GC_CORES = 4

# Number of attempts at a task on a local master, the same as on a cluster. Spark's local default is one attempt.
_LOCAL_ATTEMPTS = 4

_SCRATCH = "/tmp"  # noqa: S108  # Spark's default

_LOG4J = Path(__file__).with_name("log4j2.properties")
_DISCOVER_GPUS = Path(__file__).with_name("discover-gpus")


@dataclass(frozen=True)
class SessionOptions:
    """Options of a Spark session.

    conf: KEY=VALUE settings of the caller, which override those of verger.
    log: file for the output of the JVM; None: stderr.
    is_one_run: the JVM runs only one command, so it gets options for a fast start.
    computes_in_jvm: Spark ML computes in the JVM, so the JVM's optimizing compiler stays on.
    preload: modules that the workers import while Spark starts.
    uses_gpus: tasks run on GPUs, which verger requests from the cluster.
    archive_classes_to: file for an archive of the classes that this session loads (`java.class_archive`).
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
        """Whether Spark runs in one JVM on this machine."""
        return self.master.startswith("local")

    @property
    def spark_master(self) -> str:
        """The master URL for Spark; to a local master without a number of attempts, this number is added."""
        local = re.fullmatch(r"local(?:\[([^,]+)\])?", self.master)
        return f"local[{local.group(1) or 1},{_LOCAL_ATTEMPTS}]" if local else self.master

    @property
    def scratch_folders(self) -> list[Path]:
        """Folders in which a local Spark stores data that does not fit into memory; empty on a cluster."""
        folders = os.environ.get("SPARK_LOCAL_DIRS") or given_settings(self).get("spark.local.dir") or _SCRATCH
        return [Path(folder.strip()) for folder in folders.split(",")] if self.is_local else []

    @property
    def is_managed(self) -> bool:
        """Whether YARN or Kubernetes manages the executors."""
        return self.master == "yarn" or self.master.startswith("k8s://")

    @property
    def is_connect(self) -> bool:
        """Whether the master is a Spark Connect server."""
        return is_connect(self.master)

    @property
    def schedules_resources(self) -> bool:
        """Whether Spark assigns GPUs to tasks; False if one JVM is both driver and executor (local, local[4])."""
        return re.match(r"local($|\[)", self.master) is None

    @property
    def n_local_cores(self) -> int | None:
        """Number of tasks that run at the same time on a local master; None on a cluster."""
        if not self.is_local:
            return None
        if match := re.match(r"local\[(\d+)", self.master):
            return int(match.group(1))
        return len(os.sched_getaffinity(0)) if self.master.startswith("local[*") else 1

    @property
    def n_cores(self) -> int:
        """Number of tasks that run at the same time; on a cluster, an assumption (see `cluster_options`)."""
        return self.n_local_cores or cluster_cores(self.master, given_settings(self))


def given_settings(options: SessionOptions) -> dict[str, str]:
    """Return the caller's settings by key."""
    return {key: value for key, _, value in (pair.partition("=") for pair in options.conf)}


def sql_settings(options: SessionOptions) -> dict[str, str]:
    """Return the settings that can be changed while Spark runs; the caller's settings override verger's."""
    settings = {
        "spark.sql.session.timeZone": "UTC",
        # Arrow counts rows, not bytes: 10,000 photos or wide vectors would fill a worker.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "512",
        # SQL uses workers that were started early, by an RDD, only if SQL and the RDD have the same settings.
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    }
    return settings | given_settings(options)


def spark_settings(options: SessionOptions) -> dict[str, str]:
    """Return all settings for the start of Spark; the caller's settings override verger's. Raises SetupError."""
    settings = {
        "spark.driver.memory": options.driver_memory,
        "spark.driver.extraJavaOptions": shlex.join(_java_options(options)),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # BLAS must not start one thread per core in each worker process.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        # Spark starts workers with `python -m`, which would import modules of the working folder.
        "spark.executorEnv.PYTHONSAFEPATH": "1",
        **_store_environment(),
    }
    if options.is_local:
        # With an address, Spark does not look up this machine's name, which may be slow.
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
    """Return the settings with which executors use the same object stores as this machine; without credentials."""
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
    """Return the settings for one GPU per executor and one task per GPU: each GPU has one inference session."""
    return {
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.resource.gpu.vendor": "nvidia.com",
        "spark.executor.resource.gpu.discoveryScript": str(_DISCOVER_GPUS),
        "spark.task.resource.gpu.amount": "1",
    }


def _java_options(options: SessionOptions) -> list[str]:
    log = [] if options.log is None else [f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}"]
    return log + _fast_start(options)


def _fast_start(options: SessionOptions) -> list[str]:
    """Return Java options for a JVM that starts fast and leaves the cores to the workers.

    Spark ML (`computes_in_jvm`) keeps the optimizing compiler: without it, vectorised BLAS is 100 times slower.
    """
    if not options.is_one_run:
        return []
    is_small = (options.n_local_cores or 1) <= MAX_SERIAL_GC_CORES
    flags = [] if options.computes_in_jvm else ["-XX:TieredStopAtLevel=1"]
    flags += ["-XX:+UseSerialGC" if is_small else "-XX:+UseParallelGC"]
    if options.archive_classes_to is not None:
        return [*flags, f"-XX:ArchiveClassesAtExit={options.archive_classes_to}", "-Xlog:disable"]
    archive = class_archive()
    # The JVM ignores an archive that is no longer valid; -Xlog:disable hides its message about this.
    return [*flags, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.is_file() else flags
