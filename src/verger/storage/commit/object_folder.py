"""Commit a result in an object store, which cannot rename: copy the new result, and its manifest last.

A reader that starts with the manifest sees a complete result or none. The staging folder has the object `lock` (see
`object_lock`) and the folders of runs. While a complete result is copied, the staging folder also has the object
`switching`, which contains the name of the copied run. If the copy is interrupted, the next run first repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from verger.errors import ResultError, StorageError
from verger.storage.commit.existing import LOCK, check_writable, clear, interrupted_after_switch, new_run
from verger.storage.commit.object_lock import locked
from verger.storage.manifest import MANIFEST
from verger.storage.objects import ObjectPath

# A manifest in the staging folder does not prove a complete result: a run may have died before it wrote the report.
_SWITCHING = "switching"


@contextmanager
def stage_result(out: ObjectPath, *, overwrite: bool, resume: bool) -> Iterator[ObjectPath]:
    """Yield the folder to write to; it becomes `out` at the end."""
    if not out.key:
        raise ResultError(f"{out} is a whole bucket: choose a folder in it")
    staging = out.with_name(f".{out.name}.verger-staging")
    with locked(staging / LOCK) as lock:
        _recover(staging, out)
        check_writable(out, overwrite=overwrite, resume=resume)
        clear(staging, keep_runs=resume)
        result = new_run(staging)
        try:
            yield result
            check_writable(out, overwrite=overwrite, resume=resume)
            lock.check()
        except BaseException:
            with suppress(StorageError, ResultError):  # the first error is the one to report
                lock.check()  # if another run has the lock now, do not remove the files that it writes
                clear(staging, keep_runs=True)
            raise
        _switch(result, out)
        try:
            with suppress(StorageError):
                staging.remove_tree()
        except KeyboardInterrupt as error:
            raise interrupted_after_switch(out) from error


def _switch(result: ObjectPath, out: ObjectPath) -> None:
    """Replace the old result with the new, complete one."""
    mark = result.with_name(_SWITCHING)
    mark.write_text(result.name)
    try:
        (out / MANIFEST).unlink()
        out.remove_tree()
        result.copy_tree(out, last=MANIFEST)
        mark.unlink()
    except (KeyboardInterrupt, StorageError) as error:
        why = str(error) or "interrupted"
        advice = "run again; the next run with this OUT first finishes the copy"
        raise ResultError(f"{why} while the result was copied to {out}: {advice}") from error


def _recover(staging: ObjectPath, out: ObjectPath) -> None:
    """Finish a switch that was interrupted."""
    mark = staging / _SWITCHING
    if not mark.is_file():
        return
    if (out / MANIFEST).is_file():
        mark.unlink()
    else:
        _switch(staging / mark.read_text(), out)
