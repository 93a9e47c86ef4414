"""Publishing in an object store, which renames nothing: the new result is copied, its manifest last.

A reader that asks for the manifest first sees a whole result or none. The staging folder holds `lock`, the folders
of runs and, from when the newest is whole until it is copied, `switching` with its name: where the copying died the
next run does it again, before anything else.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from verger.errors import ResultError, StorageError
from verger.objects import ObjectPath
from verger.publish.taken import LOCK, MANIFEST, check_free, clear, in_place_already, new_run

# A run renews its lock so often; one that has not been renewed for so long belongs to a run that has died.
_RENEWED_EVERY_S = 60.0
_DEAD_AFTER_S = 300.0

# The mark of a result that is whole: a run that died earlier may have left its manifest, without the report.
_SWITCHING = "switching"


@contextmanager
def staging(out: ObjectPath, *, overwrite: bool, resume: bool) -> Iterator[ObjectPath]:
    """Yield the place to write to; it becomes `out` at the end."""
    if not out.key:
        raise ResultError(f"{out} is a whole bucket: choose a folder in it")
    place = out.with_name(f".{out.name}.verger-staging")
    with _locked(place / LOCK):
        _recover(place, out)
        check_free(out, overwrite=overwrite or resume)
        clear(place, keep_runs=resume)
        result = new_run(place)
        try:
            yield result
            check_free(out, overwrite=overwrite or resume)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is the news
                clear(place, keep_runs=True)
            raise
        _switch(result, out)
        try:
            with suppress(StorageError):
                place.remove_tree()
        except KeyboardInterrupt as error:
            raise in_place_already(out) from error


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


@contextmanager
def _locked(lock: ObjectPath) -> Iterator[None]:
    if not (lock.create(_owner()) or _take_over(lock)):
        raise ResultError(f"another run is writing to {lock.parent}: wait for it, or choose another folder")
    is_over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, is_over), name="verger-lock", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        is_over.set()
        renewing.join()
        with suppress(StorageError):
            lock.unlink()


def _take_over(lock: ObjectPath) -> bool:
    """Take the lock of a run that has died, or ended just now; tell whether it could be taken."""
    try:
        owner = json.loads(lock.read_bytes())
    except FileNotFoundError:
        return lock.create(_owner())
    if not _is_dead(**owner):
        return False
    lock.write_bytes(_owner())
    return True


def _renew(lock: ObjectPath, is_over: threading.Event) -> None:
    while not is_over.wait(_RENEWED_EVERY_S):
        with suppress(StorageError):
            lock.write_bytes(_owner())


def _owner() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}).encode()


def _is_dead(host: str, pid: int, at: float) -> bool:
    """Tell whether a lock's owner is no more; its number may be in use again, as in a container begun anew."""
    if host == socket.gethostname():
        with suppress(psutil.Error):  # of others' processes a system may tell nothing
            return not psutil.pid_exists(pid) or psutil.Process(pid).create_time() > at
    return time.time() - at > _DEAD_AFTER_S
