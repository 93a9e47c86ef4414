"""RunContext: what the stages of a run share, such as the settings, the staging folder and the engine."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from verger.engine.base import Engine
from verger.engine.choice import choose_engine
from verger.errors import ResultError, SettingsError, SetupError, SourceError, StorageError, WeightsError
from verger.kernel.networks.catalog import AUTO, NetworkSpec
from verger.pipeline.engine_start import start_engine, written_folders
from verger.pipeline.network_choice import describe_choice, network_files, network_spec
from verger.process.progress import Progress
from verger.settings import Settings
from verger.storage.commit import check_not_read, has_parts, stage_result
from verger.storage.delta_tables import check_installed, has_delta_log
from verger.storage.disk_space import explain_full_disk
from verger.storage.manifest import Manifest
from verger.storage.uri import AnyPath

# The tables of a result, and the folder of the PCA.
FEATURES, COMPONENTS, REJECTED, MODEL = "features", "components", "rejected", "model"

# The table of all photos in the source. A later run with --resume finds the unchanged photos in this table.
LISTING = "listing"

CAN_RESUME = "the finished parts are kept: run the same command with --resume to continue"


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run use.

    out: the folder of the result. stage: the staging folder; the stages write to it.
    manifest: the record of the run; the stages fill it in. started: the start time on the monotonic clock.
    """

    settings: Settings
    spec: NetworkSpec
    out: AnyPath
    stage: AnyPath
    engine: Engine
    manifest: Manifest
    progress: Progress
    started: float


@contextmanager
def open_run(
    command: str,
    src: str,
    out: AnyPath,
    settings: Settings,
    progress: Progress,
    *,
    earlier: AnyPath | None = None,
    class_archive: Path | None = None,
) -> Iterator[RunContext]:
    """Open a staging folder beside `out` and start the engine; commit the result when the block succeeds.

    earlier: another result that the run reads.
    class_archive: the file to which Spark's JVM writes the classes that it loads (see `java.class_archive`).
    Raises ResultError if `out` is an input of the run, or contains an input.
    """
    started = time.monotonic()
    check_format(out, settings)
    has_network = command in ("run", "features")
    inputs = [src, *(_input_files(settings) if has_network else ()), *([] if earlier is None else [str(earlier)])]
    check_not_read(out, inputs)
    if not has_network:  # environment variables may set resume and prune, which only `run` and `features` use
        settings = settings.model_copy(update={"resume": False, "prune": False})
    spec = network_spec(settings)
    if settings.model == AUTO and settings.weights is None and has_network:
        progress.note(describe_choice(spec))
    choice = choose_engine(settings, src)
    progress.note(f"engine: {choice.name} ({choice.reason})")
    manifest = Manifest.start(command, src, settings.model_dump(mode="json"))
    manifest.settings["engine"] = choice.name
    with stage_result(out, overwrite=settings.overwrite, resume=settings.resume) as stage:
        try:
            with (
                explain_full_disk(written_folders(out, settings, choice.name)),
                start_engine(choice.name, settings, manifest, progress, class_archive) as engine,
            ):
                yield RunContext(settings, spec, out, stage, engine, manifest, progress, started)
        except BaseException as error:
            if has_parts(stage) and not _will_recur(error):  # checked here, where no task runs any more
                progress.note(CAN_RESUME)
            raise


def check_format(out: AnyPath, settings: Settings) -> None:
    """Raise SetupError without deltalake, SettingsError if a run with --resume would drop the history of OUT."""
    if settings.format == "delta":
        check_installed()
    elif settings.resume and not settings.overwrite and has_delta_log(out / FEATURES):
        raise SettingsError("format", settings.format, "delta, because OUT has Delta tables; or add --overwrite")


def _will_recur(error: BaseException) -> bool:
    """Return whether the same command with --resume would fail again until settings or permissions are changed.

    This is False for a ReductionError, because the features can be reused with another number of components.
    """
    if isinstance(error, StorageError):
        return error.is_refusal or error.is_unsupported
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return isinstance(error, ResultError | SettingsError | SetupError | SourceError | WeightsError)


def _input_files(settings: Settings) -> list[str]:
    """Return the files that the settings name: networks, weights, a table of labels."""
    kind, _, file = settings.label.partition(":")
    return [*network_files(settings), *([file] if kind == "csv" else [])]
