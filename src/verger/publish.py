"""Write a result beside its place, then switch: a reader never sees half of one.

While a run writes, its files are in `.NAME.verger-staging` beside OUT, locked by the process. The switch
is one rename (an exchange where a result is replaced). Whatever dies before it leaves OUT as it was, and
the next run clears the remains.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verger.errors import ResultError, SourceError

MANIFEST = "manifest.json"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def publishing(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder to write into; it becomes `out` when the block ends without an error.

    Raises ResultError where `out` holds a result and `overwrite` is not set, where it holds something
    that is no result of verger's (never replaced), or where another run is writing to it.
    """
    check_free(out, overwrite=overwrite)
    staging = out.parent / f".{out.name}.verger-staging"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(staging):
        _recover(out)
        _empty(staging)
        try:
            yield staging
            check_free(out, overwrite=overwrite)
            _switch(staging, out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raise ResultError where `out` may not be written."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ResultError(f"{out} exists and is not a result of verger: choose another folder")
    if not overwrite:
        raise ResultError(f"{out} holds a result: add --overwrite to replace it, or choose another folder")


def table_folder(result: Path, name: str) -> Path:
    """Return where a table lies: in a result of verger, or in the folder itself; raises SourceError."""
    for folder in (result / name, result):
        if folder.is_dir() and any(folder.glob("*.parquet")):
            return folder
    raise SourceError(
        f"{result} holds no {name}: expected a result of `verger run` or `verger features`, or its {name}/"
    )


@contextmanager
def _locked(staging: Path) -> Iterator[None]:
    staging.mkdir(exist_ok=True)
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ResultError(f"another run is writing to {staging}: wait for it, or choose another folder") from error
    try:
        yield
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _switch(staging: Path, out: Path) -> None:
    if not out.exists():
        staging.rename(out)
    elif not _exchange(staging, out):
        previous = _previous(out)
        out.rename(previous)
        staging.rename(out)
        shutil.rmtree(previous)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (renameat2, Linux); return False where that cannot be."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _previous(out: Path) -> Path:
    return out.parent / f".{out.name}.verger-previous"


def _recover(out: Path) -> None:
    """Finish or undo a switch that died between its two renames."""
    previous = _previous(out)
    if not previous.exists():
        return
    if out.exists():
        shutil.rmtree(previous)
    else:
        previous.rename(out)
