"""Commit a result: write it to a staging folder, then switch it to OUT, so that a reader never sees half of one.

A run writes to a folder of its own in `.NAME.verger-staging` beside OUT, which it locks; at the end this folder
becomes OUT. A run that dies before the switch leaves OUT unchanged. Its folder is kept if it has finished parts of
the features, for a run with --resume; other runs remove it. `local_folder` switches by renaming, `object_folder` by
copying within the store.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import overload

from verger.storage.commit import local_folder, object_folder
from verger.storage.commit.existing import (
    RUN,
    SCRATCH,
    check_not_read,
    check_writable,
    has_parts,
    table_folder,
)
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath

__all__ = [
    "check_not_read",
    "check_writable",
    "has_parts",
    "scratch_folder",
    "stage_result",
    "table_folder",
    "unfinished_runs",
]


@overload
def stage_result(out: Path, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[Path]: ...


@overload
def stage_result(
    out: ObjectPath, *, overwrite: bool, resume: bool = False
) -> AbstractContextManager[ObjectPath]: ...


@overload
def stage_result(out: AnyPath, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[AnyPath]: ...


def stage_result(out: AnyPath, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[AnyPath]:
    """Yield an empty staging folder; it becomes `out` when the block ends without an error.

    overwrite: replace any result.
    resume: replace a result of `verger run` or `verger features`, and keep the staging folders of failed runs.
    Raises ResultError where `out` has a result that may not be replaced, or other files (never replaced), where
    another run writes to it, or where an interrupt or a store breaks off the switch (`out` may then be changed).
    """
    if isinstance(out, ObjectPath):
        return object_folder.stage_result(out, overwrite=overwrite, resume=resume)
    return local_folder.stage_result(out, overwrite=overwrite, resume=resume)


def unfinished_runs(stage: AnyPath) -> list[AnyPath]:
    """Return the staging folders of failed runs with finished parts, the oldest first; `stage` is this run's."""
    runs = (folder for folder in stage.parent.iterdir() if folder.name.startswith(RUN) and folder != stage)
    return sorted((run for run in runs if has_parts(run)), key=str)


def scratch_folder(stage: AnyPath) -> AnyPath:
    """Return the folder for a run's intermediate files, on the same storage as the result."""
    return stage.with_name(SCRATCH)
