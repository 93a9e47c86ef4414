"""Write a result beside its place, then switch: a reader never sees half of one.

While a run writes, its files are in `.NAME.verger-staging` beside OUT, locked by the process: `result/` becomes
OUT, `journal/` is what the run has done so far. Whatever dies before the switch leaves OUT as it was; the journal
is kept for a run that is to resume, and cleared by one that is not. `local` switches by renaming a folder,
`objects` by copying within the store.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import overload

from verger.objects import ObjectPath
from verger.publish import local, objects
from verger.publish.taken import JOURNAL, MANIFEST, check_free, holds_tables, table_folder
from verger.uri import AnyPath

__all__ = ["MANIFEST", "check_free", "has_journal", "journal_of", "publishing", "table_folder"]


@overload
def publishing(out: Path, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[Path]: ...


@overload
def publishing(out: AnyPath, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[AnyPath]: ...


def publishing(out: AnyPath, *, overwrite: bool, resume: bool = False) -> AbstractContextManager[AnyPath]:
    """Yield an empty folder to write into; it becomes `out` when the block ends without an error.

    `resume` keeps the journal of a run that failed, and may replace a result. Raises ResultError where `out` holds
    a result and neither is set, where it holds something that is no result of verger's (never replaced), where
    another run is writing to it, or where an interrupt or a store ends the switch: then something has been changed.
    """
    if isinstance(out, ObjectPath):
        return objects.staging(out, overwrite=overwrite, resume=resume)
    return local.staging(out, overwrite=overwrite, resume=resume)


def journal_of(stage: AnyPath) -> AnyPath:
    """Return the folder of what the run that writes to `stage` has done so far, and those before it that failed."""
    return stage.with_name(JOURNAL)


def has_journal(stage: AnyPath) -> bool:
    """Tell whether there is anything to resume from."""
    return holds_tables(journal_of(stage))
