"""Commit a result on a file system with one rename; if OUT exists, the rename exchanges the new and old folders."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from verger.errors import ResultError
from verger.storage.atomic import flush
from verger.storage.commit.existing import (
    LOCK,
    check_writable,
    clear,
    explain_unwritable,
    interrupted_after_switch,
    new_run,
)
from verger.storage.disk_space import explain_full_disk

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# Errors of file systems that cannot lock files. There only the folder is locked, against other runs on this host.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Number of files to flush at the same time: this takes a disk little longer than one file.
_FLUSHED_AT_A_TIME = 16


@contextmanager
def stage_result(out: Path, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    """Yield the folder to write to; it becomes `out` at the end."""
    with explain_full_disk([out.parent]), explain_unwritable(out), _staged(out, overwrite, resume) as result:
        yield result


@contextmanager
def _staged(out: Path, overwrite: bool, resume: bool) -> Iterator[Path]:
    check_writable(out, overwrite=overwrite, resume=resume)
    staging = out.parent / f".{out.name}.verger-staging"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(staging):
        _recover(out)
        check_writable(out, overwrite=overwrite, resume=resume)
        clear(staging, keep_runs=resume)
        result = new_run(staging)
        result.mkdir()
        stat = result.stat()
        try:
            yield result
            check_writable(out, overwrite=overwrite, resume=resume)
            _flush_tree(result)
            _switch(result, out)
            flush(staging)
            flush(out.parent)
            clear(staging, keep_runs=False)
        except BaseException as error:
            is_switched = _is_at(out, stat)
            clear(staging, keep_runs=not is_switched)
            if is_switched and isinstance(error, KeyboardInterrupt):
                raise interrupted_after_switch(out) from error
            raise


@contextmanager
def _locked(staging: Path) -> Iterator[None]:
    """Create a staging folder and hold its locks; remove it at the end, unless it has the files of a failed run."""
    folder, file = _lock(staging)
    try:
        yield
    finally:
        (staging / LOCK).unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # not empty: the folder has a failed run, or another host already uses it
            staging.rmdir()
        os.close(folder)


def _lock(staging: Path) -> tuple[int, int]:
    """Return handles of the folder and of the lock file in it, both locked.

    On NFS, the lock of a file that is open for writing holds for all hosts, but the lock of a folder only for one.
    """
    while True:
        staging.mkdir(exist_ok=True)
        with ExitStack() as opened:
            try:
                folder = _lock_at(staging, os.O_RDONLY, staging, opened)
                file = _lock_at(staging / LOCK, os.O_RDWR | os.O_CREAT, staging, opened)
            except FileNotFoundError:  # another run has ended and removed the folder
                continue
            opened.pop_all()
            return folder, file


def _lock_at(path: Path, flags: int, staging: Path, opened: ExitStack) -> int:
    """Open a path and lock it; raises FileNotFoundError if the path was replaced in the meantime."""
    handle = os.open(path, flags, 0o666)
    opened.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ResultError(f"another run is writing to {staging}: wait for it, or choose another folder") from error
    except OSError as error:
        if path == staging or error.errno not in _NO_LOCKS:
            raise
    if not _is_at(path, os.fstat(handle)):
        raise FileNotFoundError(path)
    return handle


def _is_at(path: Path, stat: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), stat)
    except FileNotFoundError:
        return False


def _flush_tree(folder: Path) -> None:
    """Wait until a folder and its content are on the disk: without this, a power cut may leave empty files."""
    paths = (os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in (*names, ""))
    with ThreadPoolExecutor(_FLUSHED_AT_A_TIME) as pool:
        list(pool.map(flush, paths))


def _switch(result: Path, out: Path) -> None:
    if not out.exists():
        result.rename(out)
    elif not _exchange(result, out):
        try:
            out.rename(_previous(out))
            result.rename(out)
        finally:
            _recover(out)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step (renameat2 of Linux); return False if the system cannot do this."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _previous(out: Path) -> Path:
    return out.parent / f".{out.name}.verger-previous"


def _recover(out: Path) -> None:
    """Finish or undo a switch that was interrupted between its two renames."""
    previous = _previous(out)
    if not previous.exists():
        return
    if out.exists():
        flush(out.parent)
        shutil.rmtree(previous)
    else:
        previous.rename(out)
