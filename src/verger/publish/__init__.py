"""Write a result beside its place, then switch: a reader never sees half of one.

While a run writes, its files are in `.NAME.verger-staging` beside OUT, locked by the process. Whatever dies before
the switch leaves OUT as it was, and the next run clears the remains. `local` switches by renaming a folder,
`objects` by copying within the store.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import overload

from verger.objects import ObjectPath
from verger.publish import local, objects
from verger.publish.taken import MANIFEST, check_free, table_folder
from verger.uri import AnyPath

__all__ = ["MANIFEST", "check_free", "publishing", "table_folder"]


@overload
def publishing(out: Path, *, overwrite: bool) -> AbstractContextManager[Path]: ...


@overload
def publishing(out: AnyPath, *, overwrite: bool) -> AbstractContextManager[AnyPath]: ...


def publishing(out: AnyPath, *, overwrite: bool) -> AbstractContextManager[AnyPath]:
    """Yield an empty folder to write into; it becomes `out` when the block ends without an error.

    Raises ResultError where `out` holds a result and `overwrite` is not set, where it holds something
    that is no result of verger's (never replaced), or where another run is writing to it.
    """
    if isinstance(out, ObjectPath):
        return objects.staging(out, overwrite=overwrite)
    return local.staging(out, overwrite=overwrite)
