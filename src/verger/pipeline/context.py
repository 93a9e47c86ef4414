"""Where a run works: a staging folder beside the result, an engine, and what the steps share."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verger.engine.base import Engine
from verger.engine.choice import SPARK, EngineChoice, choose_engine
from verger.engine.local.pool import LocalOptions, available_cores, local_engine
from verger.errors import WeightsError
from verger.kernel.networks.catalog import AUTO, FRUITNET, JOIN, OWN_GRAPH_SUFFIXES, NetworkSpec
from verger.kernel.networks.device import CPU, CUDA
from verger.kernel.networks.network import imagenet_file
from verger.process.progress import Progress
from verger.settings import DEFAULT_MASTER, Settings
from verger.storage.cache import cache_dir, switching
from verger.storage.commit import check_apart, has_parts, publishing
from verger.storage.disk_space import minding_space
from verger.storage.manifest import Manifest
from verger.storage.objects import object_path
from verger.storage.uri import AnyPath

if TYPE_CHECKING:
    from verger.engine.spark.engine import SparkEngine
    from verger.engine.spark.spark_options import SessionOptions

# The tables of a result.
FEATURES, COMPONENTS, REJECTED, MODEL = "features", "components", "rejected", "model"

# The photos that were found, beside them: a later run knows by it which photos have not changed.
LISTING = "listing"

KEPT = "what was done is kept: the same command with --resume goes on from there"

# Modules that a worker needs to featurize, imported while the driver lists the photos.
WORKER_MODULES = ("verger.tasks.featurize", "openvino")
ONNX_WORKER_MODULES = ("verger.tasks.featurize", "onnxruntime")
OTHER_MODULES = ("verger.tasks.moments", "verger.tasks.project")


@dataclass(frozen=True)
class Workplace:
    """What the steps share: what to do, where to write, what runs the tasks, and what they note."""

    settings: Settings
    spec: NetworkSpec
    out: AnyPath
    stage: AnyPath
    engine: Engine
    manifest: Manifest
    progress: Progress
    started: float


@contextmanager
def workplace(
    command: str,
    src: str,
    out: AnyPath,
    settings: Settings,
    progress: Progress,
    *,
    archive: Path | None = None,
) -> Iterator[Workplace]:
    """Open a staging folder beside `out` and start the engine; publish when the block ends well.

    `archive` takes the classes that Spark's JVM loads (see `java.class_archive`). Raises ResultError where `out` is
    or holds what is read.
    """
    started = time.monotonic()
    featurizes = command in ("run", "features")
    check_apart(out, [src, *(_files_read(settings) if featurizes else ())])
    if not featurizes:  # a setting of the environment, say, that is for these two
        settings = settings.model_copy(update={"resume": False, "prune": False})
    spec = network_spec(settings)
    if settings.model == AUTO and settings.weights is None and featurizes:
        progress.note(_chosen(spec))
    choice = choose_engine(settings, src)
    progress.note(f"engine: {choice.name} ({choice.reason})")
    manifest = Manifest(command, src, settings.model_dump(mode="json"))
    manifest.settings["engine"] = choice.name
    with publishing(out, overwrite=settings.overwrite, resume=settings.resume) as stage:
        try:
            with minding_space(_folders(out, settings, choice)), ExitStack() as stack:
                if choice.name == SPARK:
                    options = replace(session_options(settings), archive_classes_to=archive)
                    if not featurizes:
                        options = replace(options, preload=(), computes_in_jvm=command == "train")
                    engine: Engine = stack.enter_context(_spark_engine(options, manifest, progress))
                else:
                    modules = _worker_modules(settings) if featurizes else OTHER_MODULES
                    engine = stack.enter_context(local_engine(local_options(settings, modules)))
                yield Workplace(settings, spec, out, stage, engine, manifest, progress, started)
        except BaseException:
            if has_parts(stage):  # now that no task is running any more
                progress.note(KEPT)
            raise


@contextmanager
def _spark_engine(options: SessionOptions, manifest: Manifest, progress: Progress) -> Iterator[SparkEngine]:
    """Start Spark, or borrow the one that runs; stop it when the block ends."""
    from verger.engine.spark.compat import pyspark_version
    from verger.engine.spark.engine import SparkEngine
    from verger.engine.spark.session import managed_session

    with managed_session(options) as starting:
        manifest.settings["master"] = starting.options.master  # a borrowed Spark has one of its own
        manifest.versions["pyspark"] = pyspark_version()
        yield SparkEngine(starting, progress.note, uses_gpus=options.uses_gpus)


def _folders(out: AnyPath, settings: Settings, choice: EngineChoice) -> list[Path]:
    """Return the folders of this machine that a run fills."""
    scratch = session_options(settings).scratch_folders if choice.name == SPARK else []
    return [*([out.parent] if isinstance(out, Path) else []), *scratch]


def local_options(settings: Settings, preload: tuple[str, ...] = ()) -> LocalOptions:
    """Return how the settings want the local engine: a worker for each core, or for each GPU with --device cuda."""
    n_cores = available_cores()
    if settings.device != CUDA:
        return LocalOptions(settings.workers or n_cores, preload=preload)
    from verger.kernel.networks.onnx_session import visible_gpus

    n_gpus = max(1, len(visible_gpus()))
    n_workers = settings.workers or n_gpus
    return LocalOptions(n_workers, max(1, n_cores // n_workers), n_gpus, preload)


def network_spec(settings: Settings) -> NetworkSpec:
    """Return the network that the settings ask for; raises SettingsError."""
    s = settings
    model = _automatic_model(s) if s.model == AUTO else s.model
    weights = _local_copy(s.weights) if s.weights else None
    model = JOIN.join(_local_copy(part) for part in model.split(JOIN))
    return NetworkSpec(model, weights, s.pooling, s.precision, s.preprocessing, s.views)


def _files_read(settings: Settings) -> list[str]:
    """Return the files that the settings name: networks, weights, a table of labels."""
    named = {settings.model, *settings.model.split(JOIN), settings.weights or ""}
    files = [name for name in sorted(named) if name.endswith((*OWN_GRAPH_SUFFIXES, ".h5"))]
    kind, _, file = settings.label.partition(":")
    return [*files, file] if kind == "csv" else files


def _local_copy(file: str) -> str:
    """Return the local copy of a file in an object store, which Keras cannot read; any other name as it is."""
    place = object_path(file)
    if place is None:
        return file
    try:
        found = place.find()
    except FileNotFoundError as error:
        raise WeightsError(str(error)) from None
    version = hashlib.sha256(f"{place} {found.length} {found.modified_us}".encode()).hexdigest()[:32]
    copy = cache_dir() / "weights" / version / place.name
    if not copy.is_file():
        with switching(copy) as beside:
            beside.write_bytes(place.read_bytes())
    return str(copy)


def _automatic_model(settings: Settings) -> str:
    """The graph named as weights; MobileNetV2 where its weights are at hand, or more is asked than fruitnet has."""
    if settings.weights and settings.weights.endswith(OWN_GRAPH_SUFFIXES):
        return settings.weights
    asks_for_more = settings.weights or settings.preprocessing or settings.pooling != "avg"
    return NetworkSpec.model if asks_for_more or imagenet_file().is_file() else FRUITNET


def _chosen(spec: NetworkSpec) -> str:
    if spec.is_bundled:
        return f"network: {spec.model}, bundled with verger (--model MobileNetV2 for the ImageNet one)"
    return f"network: {spec.model} (--model fruitnet for verger's own, several times faster)"


def _worker_modules(settings: Settings) -> tuple[str, ...]:
    return WORKER_MODULES if settings.device == CPU else ONNX_WORKER_MODULES


def session_options(settings: Settings) -> SessionOptions:
    """Return how the settings want Spark."""
    from verger.engine.spark.spark_options import SessionOptions

    return SessionOptions(
        settings.master or DEFAULT_MASTER,
        settings.driver_memory,
        settings.conf,
        log=None if settings.verbose else cache_dir() / "logs" / f"spark-{os.getpid()}.log",
        is_one_run=True,
        preload=_worker_modules(settings),
        uses_gpus=settings.device == CUDA,
    )
