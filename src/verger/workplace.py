"""Where a run works: a staging folder beside the result, Spark on its way, and what the steps share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from verger.export import ExportOptions
from verger.featurize.catalog import NetworkSpec
from verger.manifest import Manifest
from verger.places import cache_dir
from verger.progress import Progress
from verger.publish import publishing
from verger.session import Session, SessionOptions, session
from verger.settings import Settings

# The tables of a result.
FEATURES, COMPONENTS, REJECTED, MODEL = "features", "components", "rejected", "model"

# What a worker needs to featurize; imported while the JVM starts.
WORKER_MODULES = ("verger.featurize.worker", "openvino")


@dataclass(frozen=True)
class Workplace:
    """What the steps share: what to do, where to write, Spark on its way, and what they note."""

    settings: Settings
    spec: NetworkSpec
    out: Path
    stage: Path
    session: Session
    manifest: Manifest
    progress: Progress
    started: float

    @property
    def export_options(self) -> ExportOptions:
        """Formats and files of the export."""
        return ExportOptions(self.settings.export, self.settings.single_file)


@contextmanager
def workplace(
    command: str,
    src: str,
    out: Path,
    settings: Settings,
    progress: Progress,
    *,
    archive: Path | None = None,
) -> Iterator[Workplace]:
    """Open a staging folder beside `out` and start Spark; publish when the block ends well.

    `archive` takes the classes that Spark's JVM loads (see `java.class_archive`).
    """
    started = time.monotonic()
    s = settings
    spec = NetworkSpec(s.model, s.weights, s.pooling, s.precision, s.preprocessing)
    manifest = Manifest(command, src, settings.model_dump(mode="json"))
    options = replace(session_options(settings), archive_classes_to=archive)
    if command == "reduce":
        options = replace(options, preload=())
    with publishing(out, overwrite=settings.overwrite) as stage, session(options) as starting:
        yield Workplace(settings, spec, out, stage, starting, manifest, progress, started)


def session_options(settings: Settings) -> SessionOptions:
    """Return how the settings want Spark."""
    return SessionOptions(
        settings.master,
        settings.driver_memory,
        settings.conf,
        log=None if settings.verbose else cache_dir() / "logs" / f"spark-{os.getpid()}.log",
        is_one_run=True,
        preload=WORKER_MODULES,
    )
