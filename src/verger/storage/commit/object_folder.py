"""Publishing in an object store, which renames nothing: the new result is copied, its manifest last.

A reader that asks for the manifest first sees a whole result or none. The staging folder holds `lock` (see
`locking`), the folders of runs and, from when the newest is whole until it is copied, `switching` with its name:
where the copying died the next run does it again, before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from verger.errors import ResultError, StorageError
from verger.storage.commit.existing import LOCK, check_writable, clear, interrupted_after_switch, new_run
from verger.storage.commit.object_lock import locked
from verger.storage.manifest import MANIFEST
from verger.storage.objects import ObjectPath

# The mark of a result that is whole: a run that died earlier may have left its manifest, without the report.
_SWITCHING = "switching"


@contextmanager
def staging(out: ObjectPath, *, overwrite: bool, resume: bool) -> Iterator[ObjectPath]:
    """Yield the place to write to; it becomes `out` at the end."""
    if not out.key:
        raise ResultError(f"{out} is a whole bucket: choose a folder in it")
    place = out.with_name(f".{out.name}.verger-staging")
    with locked(place / LOCK) as lock:
        _recover(place, out)
        check_writable(out, overwrite=overwrite, resume=resume)
        clear(place, keep_runs=resume)
        result = new_run(place)
        try:
            yield result
            check_writable(out, overwrite=overwrite, resume=resume)
            lock.check()
        except BaseException:
            with suppress(StorageError, ResultError):  # what went wrong first is the news
                lock.check()  # what another run is writing is not ours to clear
                clear(place, keep_runs=True)
            raise
        _switch(result, out)
        try:
            with suppress(StorageError):
                place.remove_tree()
        except KeyboardInterrupt as error:
            raise interrupted_after_switch(out) from error


def _switch(result: ObjectPath, out: ObjectPath) -> None:
    """Replace the old result by the new one, which is whole."""
    mark = result.with_name(_SWITCHING)
    mark.write_text(result.name)
    try:
        (out / MANIFEST).unlink()
        out.remove_tree()
        result.copy_tree(out, last=MANIFEST)
        mark.unlink()
    except (KeyboardInterrupt, StorageError) as error:
        why = str(error) or "interrupted"
        advice = "the next run with this OUT finishes what is half done"
        raise ResultError(f"{why}, as {out} was put in place: {advice}") from error


def _recover(place: ObjectPath, out: ObjectPath) -> None:
    """Finish a switch that died."""
    mark = place / _SWITCHING
    if not mark.is_file():
        return
    if (out / MANIFEST).is_file():
        mark.unlink()
    else:
        _switch(place / mark.read_text(), out)
