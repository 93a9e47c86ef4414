"""Start the engine of a run, with the options that follow from the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from verger.engine.base import Engine
from verger.engine.choice import SPARK
from verger.engine.local.local_options import LocalOptions, available_cores
from verger.engine.local.pool import local_engine
from verger.kernel.networks.device import CPU, CUDA
from verger.process.progress import Progress
from verger.settings import DEFAULT_MASTER, Settings
from verger.storage.cache import cache_dir
from verger.storage.manifest import Manifest
from verger.storage.uri import AnyPath

if TYPE_CHECKING:
    from verger.engine.spark.engine import SparkEngine
    from verger.engine.spark.spark_options import SessionOptions

# Commands whose workers compute features. Workers import `_featurize_modules` while the driver lists the photos.
_FEATURIZING = ("run", "features")
_OPENVINO_MODULES = ("verger.tasks.featurize", "openvino")
_ONNX_MODULES = ("verger.tasks.featurize", "onnxruntime")
_OTHER_MODULES = ("verger.tasks.moments", "verger.tasks.project")


def start_engine(
    name: str, settings: Settings, manifest: Manifest, progress: Progress, class_archive: Path | None = None
) -> AbstractContextManager[Engine]:
    """Start the engine `name` ("local" or "spark") for the command of the manifest; stop it when the block ends."""
    if name == SPARK:
        return _spark_engine(_spark_options(settings, manifest.command, class_archive), manifest, progress)
    return local_engine(_local_options(settings, manifest.command))


@contextmanager
def _spark_engine(options: SessionOptions, manifest: Manifest, progress: Progress) -> Iterator[SparkEngine]:
    """Start Spark, or use the session that already runs in this process."""
    from verger.engine.spark.compat import pyspark_version
    from verger.engine.spark.engine import SparkEngine
    from verger.engine.spark.session import managed_session

    with managed_session(options) as starting:
        manifest.settings["master"] = (
            starting.options.master
        )  # differs from the setting if Spark was already running
        manifest.versions["pyspark"] = pyspark_version()
        yield SparkEngine(starting, progress.note, uses_gpus=options.uses_gpus)


def _spark_options(settings: Settings, command: str, class_archive: Path | None = None) -> SessionOptions:
    from verger.engine.spark.spark_options import SessionOptions

    return SessionOptions(
        settings.master or DEFAULT_MASTER,
        settings.driver_memory,
        settings.conf,
        log=None if settings.verbose else cache_dir() / "logs" / f"spark-{os.getpid()}.log",
        is_one_run=True,
        computes_in_jvm=command == "train",
        preload=_featurize_modules(settings) if command in _FEATURIZING else (),
        uses_gpus=settings.device == CUDA,
        archive_classes_to=class_archive,
    )


def _local_options(settings: Settings, command: str) -> LocalOptions:
    """Return the options of the local engine: one worker per core, or with --device cuda one worker per GPU."""
    preload = _featurize_modules(settings) if command in _FEATURIZING else _OTHER_MODULES
    n_cores = available_cores()
    if settings.device != CUDA:
        return LocalOptions(settings.workers or n_cores, preload=preload)
    from verger.kernel.networks.onnx_session import visible_gpus

    n_gpus = max(1, len(visible_gpus()))
    n_workers = settings.workers or n_gpus
    return LocalOptions(n_workers, max(1, n_cores // n_workers), n_gpus, preload)


def _featurize_modules(settings: Settings) -> tuple[str, ...]:
    return _OPENVINO_MODULES if settings.device == CPU else _ONNX_MODULES


def written_folders(out: AnyPath, settings: Settings, engine_name: str) -> list[Path]:
    """Return the folders on this machine to which a run writes; their disks may become full."""
    scratch = _spark_options(settings, "run").scratch_folders if engine_name == SPARK else []
    return [*([out.parent] if isinstance(out, Path) else []), *scratch]
