"""Bring a result home: a folder of an object store, file by file, skipping what is here already."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verger.cloud.provider import Say
from verger.errors import CloudError
from verger.objects import Found, ObjectPath

_AT_A_TIME = 8
_PART = ".part"
_TOLD_AT_MOST = 3


def fetch_tree(source: ObjectPath, folder: Path, say: Say) -> None:
    """Copy every object below `source` into `folder`. One of the same size and time is here already.

    Raises CloudError where there is nothing, or where the folder holds other files: tables are folders, and a file
    of another result would be read as a part of them.
    """
    wanted = {_name(found, source): found for found in source.walk()}
    if not wanted:
        raise CloudError(f"{source}: there is nothing there; see `verger cloud status`, and the job's OUT")
    check_strangers(folder, set(wanted))
    todo = [name for name, found in wanted.items() if not _is_here(folder / name, found)]
    size = sum(wanted[name].length for name in todo)
    if len(todo) < len(wanted):
        say(f"{len(wanted) - len(todo):,} of {len(wanted):,} files are here already")
    if todo:
        say(f"fetching {len(todo):,} files, {size / 1e6:,.1f} MB")
    told = _Tenths(len(todo), say)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            for done in [pool.submit(_fetch, source, name, wanted[name], folder / name) for name in todo]:
                done.result()
                told.one_more()
        except BaseException:  # Ctrl-C too: leaving the pool would fetch all that is left first
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _name(found: Found, source: ObjectPath) -> str:
    """Return where an object lies below the folder; a key that would lead out of it is refused."""
    name = found.key.removeprefix(source.key).strip("/")
    if ".." in name.split("/"):
        raise CloudError(f"{source}: the object {found.key!r} would be written outside of the folder")
    return name


def check_strangers(folder: Path, names: set[str]) -> None:
    """Raise CloudError where a folder holds files of other names than a result has."""
    here = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(_PART))
    strangers = sorted({str(path.relative_to(folder)) for path in here} - names)
    if strangers:
        more = ", ..." * (len(strangers) > _TOLD_AT_MOST)
        raise CloudError(
            f"{folder} holds files that are not of this result ({', '.join(strangers[:_TOLD_AT_MOST])}{more}): "
            "name another folder, or remove it"
        )


def _is_here(file: Path, found: Found) -> bool:
    try:
        here = file.stat()
    except FileNotFoundError:
        return False
    return here.st_size == found.length and here.st_mtime_ns == found.modified_us * 1000


def _fetch(source: ObjectPath, name: str, found: Found, file: Path) -> None:
    """Write beside, then switch: a file of the right name is whole. It takes the object's time, to be known by."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{threading.get_ident()}{_PART}")
    try:
        beside.write_bytes((source / name).read_bytes())
        os.utime(beside, ns=(found.modified_us * 1000, found.modified_us * 1000))
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


class _Tenths:
    """Says how far it is ten times in all, however many files there are."""

    def __init__(self, n_files: int, say: Say) -> None:
        self._n_files, self._n_done, self._say = n_files, 0, say

    def one_more(self) -> None:
        """Count one."""
        before, self._n_done = self._n_done * 10 // self._n_files, self._n_done + 1
        now = self._n_done * 10 // self._n_files
        if now > before:
            self._say(f"{self._n_done:,} of {self._n_files:,} files")
