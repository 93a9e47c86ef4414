"""Write a result beside its place, then switch: a reader never sees half of one.

While a run writes, its files are in a folder of its own in `.NAME.verger-staging` beside OUT, which is locked. That
folder becomes OUT. Whatever dies before the switch leaves OUT as it was; the folder is kept where it has finished
parts of the features, for a run that resumes, and removed by one that does not. `local` switches by renaming a
folder, `objects` by copying within the store.
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
    """Yield an empty folder to write into; it becomes `out` when the block ends without an error.

    `resume` keeps the folders of runs that failed, and may replace a result of `verger run` or `verger features`;
    `overwrite` may replace any. Raises ResultError where `out` holds a result that may not be replaced, where it
    holds something that is no result of verger's (never replaced), where another run is writing to it, or where an
    interrupt or a store ends the switch: then something has been changed.
    """
    if isinstance(out, ObjectPath):
        return object_folder.staging(out, overwrite=overwrite, resume=resume)
    return local_folder.staging(out, overwrite=overwrite, resume=resume)


def unfinished_runs(stage: AnyPath) -> list[AnyPath]:
    """Return the folders of runs that did not end well, the oldest first: `stage` is that of this run."""
    runs = (folder for folder in stage.parent.iterdir() if folder.name.startswith(RUN) and folder != stage)
    return sorted((run for run in runs if has_parts(run)), key=str)


def scratch_folder(stage: AnyPath) -> AnyPath:
    """Return the folder for a run's intermediate files; workers see it wherever they see the result."""
    return stage.with_name(SCRATCH)
