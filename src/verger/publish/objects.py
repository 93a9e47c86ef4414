"""Publishing in an object store, which renames nothing: the new result is copied, its manifest last.

A reader that asks for the manifest first sees a whole result or none. The staging place holds `lock`, `result/`
and `journal/`; one whose copying died has a whole `result/`, and the next run copies it to the end before it does
anything else.
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
from verger.publish.taken import JOURNAL, MANIFEST, RESULT, check_free

# A run renews its lock so often; one that has not been renewed for so long belongs to a run that has died.
_RENEWED_EVERY_S = 60.0
_DEAD_AFTER_S = 300.0


@contextmanager
def staging(out: ObjectPath, *, overwrite: bool, resume: bool) -> Iterator[ObjectPath]:
    """Yield the place to write to; it becomes `out` at the end."""
    if not out.key:
        raise ResultError(f"{out} is a whole bucket: choose a folder in it")
    check_free(out, overwrite=overwrite or resume)
    place = out.with_name(f".{out.name}.verger-staging")
    result = place / RESULT
    with _locked(place / "lock"):
        _recover(result, out)
        check_free(out, overwrite=overwrite or resume)
        result.remove_tree()
        if not resume:
            (place / JOURNAL).remove_tree()
        try:
            yield result
            check_free(out, overwrite=overwrite or resume)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is the news
                (result if (place / JOURNAL).is_dir() else place).remove_tree()
            raise
        _switch(result, out)  # one that fails leaves the whole result to the next run
        with suppress(StorageError):
            place.remove_tree()


def _switch(result: ObjectPath, out: ObjectPath) -> None:
    """From here on the old result is none; the new one is whole, and will be in its place."""
    (out / MANIFEST).unlink()
    out.remove_tree()
    result.copy_tree(out, last=MANIFEST)


def _recover(result: ObjectPath, out: ObjectPath) -> None:
    """Finish a switch that died."""
    if (result / MANIFEST).is_file() and not (out / MANIFEST).is_file():
        _switch(result, out)


@contextmanager
def _locked(lock: ObjectPath) -> Iterator[None]:
    if not lock.create(_owner()):
        if not _is_dead(lock):
            raise ResultError(f"another run is writing to {lock.parent}: wait for it, or choose another folder")
        lock.write_bytes(_owner())
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


def _renew(lock: ObjectPath, is_over: threading.Event) -> None:
    while not is_over.wait(_RENEWED_EVERY_S):
        with suppress(StorageError):
            lock.write_bytes(_owner())


def _owner() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}).encode()


def _is_dead(lock: ObjectPath) -> bool:
    owner = json.loads(lock.read_bytes())
    if owner["host"] == socket.gethostname():
        return not psutil.pid_exists(owner["pid"])
    return bool(time.time() - owner["at"] > _DEAD_AFTER_S)
