"""Where a run works: a staging folder beside the result, Spark on its way, and what the steps share."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from verger.connectors import spark_settings
from verger.disks import minding_space
from verger.errors import WeightsError
from verger.export import ExportOptions
from verger.featurize.catalog import AUTO, FRUITNET, JOIN, OWN_GRAPH_SUFFIXES, NetworkSpec
from verger.featurize.network import imagenet_file
from verger.manifest import Manifest
from verger.objects import object_path
from verger.places import cache_dir, switching
from verger.progress import Progress
from verger.publish import has_journal, journal_of, publishing
from verger.session import Session, SessionOptions, session
from verger.settings import Settings
from verger.uri import AnyPath, scheme_of

# The tables of a result.
FEATURES, COMPONENTS, REJECTED, MODEL = "features", "components", "rejected", "model"

# What was found, beside them: a later run knows by it which photos have not changed.
LISTING = "listing"

# Beside the staged result: the photos that a run which resumes has still something to do for.
PLAN = "plan"

KEPT = "what was done is kept: the same command with --resume goes on from there"

# What a worker needs to featurize; imported while the JVM starts.
WORKER_MODULES = ("verger.featurize.worker", "openvino")
ONNX_WORKER_MODULES = ("verger.featurize.worker", "onnxruntime")


@dataclass(frozen=True)
class Workplace:
    """What the steps share: what to do, where to write, Spark on its way, and what they note."""

    settings: Settings
    spec: NetworkSpec
    out: AnyPath
    stage: AnyPath
    session: Session
    manifest: Manifest
    progress: Progress
    started: float

    @property
    def journal(self) -> AnyPath:
        """What this run has done so far, and those before it that did not end well."""
        return journal_of(self.stage)

    @property
    def export_options(self) -> ExportOptions:
        """Formats and files of the export."""
        return ExportOptions(self.settings.export, self.settings.single_file)


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
    """Open a staging folder beside `out` and start Spark; publish when the block ends well.

    `archive` takes the classes that Spark's JVM loads (see `java.class_archive`).
    """
    started = time.monotonic()
    featurizes = command in ("run", "features")
    if not featurizes:  # a setting of the environment, say, that is for these two
        settings = settings.model_copy(update={"resume": False, "prune": False})
    spec = network_spec(settings)
    if settings.model == AUTO and settings.weights is None and featurizes:
        progress.note(_chosen(spec))
    manifest = Manifest(command, src, settings.model_dump(mode="json"))
    options = replace(session_options(settings), archive_classes_to=archive)
    if not options.is_connect:  # that has its own connectors, or not
        stores = spark_settings({scheme_of(src), scheme_of(str(out))}, settings.conf, progress.note)
        options = replace(options, stores=tuple(stores.items()))
    if not featurizes:
        options = replace(options, preload=(), computes_in_jvm=command == "train")
    written = [out.parent] if isinstance(out, Path) else []
    with publishing(out, overwrite=settings.overwrite, resume=settings.resume) as stage:
        try:
            with session(options) as starting, minding_space([*written, *options.scratch_folders]):
                manifest.settings["master"] = starting.options.master  # a borrowed Spark has one of its own
                yield Workplace(settings, spec, out, stage, starting, manifest, progress, started)
        except BaseException:
            if has_journal(stage):  # now that no task is running any more
                progress.note(KEPT)
            raise


def network_spec(settings: Settings) -> NetworkSpec:
    """Return the network that the settings ask for; raises SettingsError."""
    s = settings
    model = _automatic_model(s) if s.model == AUTO else s.model
    weights = _brought_here(s.weights) if s.weights else None
    model = JOIN.join(_brought_here(part) for part in model.split(JOIN))
    return NetworkSpec(model, weights, s.pooling, s.precision, s.preprocessing, s.views)


def _brought_here(file: str) -> str:
    """Return the local copy of a file that lies in an object store: Keras reads no others. What is none stays."""
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


def session_options(settings: Settings) -> SessionOptions:
    """Return how the settings want Spark."""
    return SessionOptions(
        settings.master,
        settings.driver_memory,
        settings.conf,
        log=None if settings.verbose else cache_dir() / "logs" / f"spark-{os.getpid()}.log",
        is_one_run=True,
        preload=WORKER_MODULES if settings.device == "cpu" else ONNX_WORKER_MODULES,
        uses_gpus=settings.device == "cuda",
    )
