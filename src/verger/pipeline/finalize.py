"""The last stage: write the manifest and the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from verger.engine.base import Engine
from verger.errors import JobError
from verger.pipeline.context import COMPONENTS, FEATURES, LISTING, REJECTED, RunContext
from verger.storage import schemas
from verger.storage.commit import scratch_folder
from verger.storage.manifest import Manifest
from verger.storage.uri import remove_tree
from verger.tasks.thumbnails import PHOTOS_PER_TASK, ThumbnailJob, thumbnails_of

_SCHEMAS = {FEATURES: schemas.FEATURES, REJECTED: schemas.REJECTED, COMPONENTS: schemas.COMPONENTS}


def finish(context: RunContext) -> Manifest:
    """Remove intermediate files, write the manifest and the report, and return the manifest."""
    manifest = context.manifest
    has_report = context.settings.report and manifest.command != "pack"
    needs_thumbnails = has_report and (context.stage / COMPONENTS).is_dir()
    if not needs_thumbnails:
        context.engine.release()
    if manifest.command == "pack":
        remove_tree(context.stage / LISTING)
    remove_tree(scratch_folder(context.stage))
    manifest.timings_s["total"] = round(time.monotonic() - context.started, 3)
    if "listed" in manifest.counts:
        stage = "pack" if manifest.command == "pack" else "featurize"
        # If all features are reused, the time of the stage may be rounded to 0.0 s.
        manifest.photos_per_s = round(manifest.counts["listed"] / max(manifest.timings_s[stage], 0.001), 1)
    if context.settings.format == "delta":
        commit_tables(context)
    manifest.write(context.stage)
    if has_report:
        from verger.report.page import write_report

        context.progress.stage("report")
        write_report(context.stage, partial(_report_thumbnails, context), title=context.out.name)
    return manifest


def commit_tables(context: RunContext) -> None:
    """Make the tables the next versions of the Delta tables in OUT, and record their numbers."""
    from verger.storage.delta_tables import commit_version

    manifest, days = context.manifest, context.settings.history_days
    for name, schema in _SCHEMAS.items():
        if (context.stage / name).is_dir():
            manifest.table_versions[name] = commit_version(
                context.stage / name, context.out / name, schema, manifest.command, manifest.counts, days
            )


def _report_thumbnails(context: RunContext, paths: Sequence[str]) -> list[str | None]:
    """Make the thumbnails of the report, then release the engine. If they fail, the report has no thumbnails."""
    try:
        return make_thumbnails(context.engine, paths)
    except JobError as error:
        context.progress.note(f"the report has no thumbnails: {error}")
        return [None] * len(paths)
    finally:
        context.engine.release()


def make_thumbnails(engine: Engine, paths: Sequence[str]) -> list[str | None]:
    """Return the thumbnail of each photo as a data URI, or None (see `thumbnails_of`)."""
    chunks = [paths[start : start + PHOTOS_PER_TASK] for start in range(0, len(paths), PHOTOS_PER_TASK)]
    results = engine.map(thumbnails_of, chunks, ThumbnailJob(len(paths)))
    return [uri for uris in results for uri in uris]
