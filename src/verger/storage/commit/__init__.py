"""Commit a result: write it to a staging folder, then put it in place of OUT. A reader never sees half a result.

A run locks the staging folder `.NAME.verger-staging` beside OUT, and writes to a new folder in it. At the end, the
switch makes this folder the new OUT: `local_folder` renames it, `object_folder` copies it within the store. A run
that dies before the switch leaves OUT unchanged. If such a run has finished parts of the features, its folder is
kept, so that a run with --resume can reuse them; a run without --resume removes it.
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

    overwrite: whether any result may be replaced.
    resume: whether a result of `verger run` or `verger features` may be replaced; keeps the folders of failed runs.
    Raises ResultError if `out` has a result that may not be replaced, or any other files; if another run writes to
    `out`; or if an interrupt or an error of the store stops the switch (then `out` may be changed).
    """
    if isinstance(out, ObjectPath):
        return object_folder.stage_result(out, overwrite=overwrite, resume=resume)
    return local_folder.stage_result(out, overwrite=overwrite, resume=resume)


def unfinished_runs(stage: AnyPath) -> list[AnyPath]:
    """Return the folders of failed runs that have finished parts, the oldest first. stage: folder of this run."""
    runs = (folder for folder in stage.parent.iterdir() if folder.name.startswith(RUN) and folder != stage)
    return sorted((run for run in runs if has_parts(run)), key=str)


def scratch_folder(stage: AnyPath) -> AnyPath:
    """Return the folder for a run's intermediate files, on the same storage as the result."""
    return stage.with_name(SCRATCH)
