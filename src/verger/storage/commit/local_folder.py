"""Publishing on a file system: one rename (an exchange where a result is replaced)."""

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
from verger.storage.commit.existing import LOCK, check_writable, clear, interrupted_after_switch, new_run
from verger.storage.disk_space import explain_full_disk

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# What a file system says that has no locks for files: the folder's keeps out the other runs of this host.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Files flushed at a time: the disk takes many together in little more time than one.
_FLUSHED_AT_A_TIME = 16


@contextmanager
def staging(out: Path, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    """Yield the folder to write into; it becomes `out` at the end."""
    check_writable(out, overwrite=overwrite, resume=resume)
    place = out.parent / f".{out.name}.verger-staging"
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        _recover(out)
        check_writable(out, overwrite=overwrite, resume=resume)
        clear(place, keep_runs=resume)
        result = new_run(place)
        result.mkdir()
        new = result.stat()
        try:
            yield result
            check_writable(out, overwrite=overwrite, resume=resume)
            with explain_full_disk([out.parent]):
                _flush_tree(result)
            _switch(result, out)
            _flush(place)
            _flush(out.parent)
            clear(place, keep_runs=False)
        except BaseException as error:
            is_switched = _is_at(out, new)
            clear(place, keep_runs=not is_switched)
            if is_switched and isinstance(error, KeyboardInterrupt):
                raise interrupted_after_switch(out) from error
            raise


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Make a staging folder and hold its locks; remove it at the end, unless a run is kept in it."""
    folder, file = _lock(place)
    try:
        yield
    finally:
        (place / LOCK).unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # a run is kept in it, or another host is at it already
            place.rmdir()
        os.close(folder)


def _lock(place: Path) -> tuple[int, int]:
    """Return handles of the folder and of the lock file in it, both locked.

    On NFS the lock of a file that is open for writing holds between hosts, and that of a folder on one host alone.
    """
    while True:
        place.mkdir(exist_ok=True)
        with ExitStack() as opened:
            try:
                folder = _lock_at(place, os.O_RDONLY, place, opened)
                file = _lock_at(place / LOCK, os.O_RDWR | os.O_CREAT, place, opened)
            except FileNotFoundError:  # a run that ended has removed it
                continue
            opened.pop_all()
            return folder, file


def _lock_at(path: Path, flags: int, place: Path, opened: ExitStack) -> int:
    """Open a path and lock it; raises FileNotFoundError where it is another one by then."""
    handle = os.open(path, flags, 0o666)
    opened.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ResultError(f"another run is writing to {place}: wait for it, or choose another folder") from error
    except OSError as error:
        if path == place or error.errno not in _NO_LOCKS:
            raise
    if not _is_at(path, os.fstat(handle)):
        raise FileNotFoundError(path)
    return handle


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False


def _flush_tree(folder: Path) -> None:
    """Wait until a folder and all that is in it is on the disk: else files are empty after a power cut."""
    paths = (os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in (*names, ""))
    with ThreadPoolExecutor(_FLUSHED_AT_A_TIME) as pool:
        list(pool.map(_flush, paths))


def _flush(path: str | Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot flush folders
            raise
    finally:
        os.close(handle)


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
    """Swap two folders in one step (renameat2, Linux); return False where that cannot be."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _previous(out: Path) -> Path:
    return out.parent / f".{out.name}.verger-previous"


def _recover(out: Path) -> None:
    """Finish or undo a switch of two renames, wherever it died."""
    previous = _previous(out)
    if not previous.exists():
        return
    if out.exists():
        _flush(out.parent)
        shutil.rmtree(previous)
    else:
        previous.rename(out)
