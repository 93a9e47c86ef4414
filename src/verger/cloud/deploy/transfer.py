"""Bring a result home: a folder of an object store, file by file, skipping what is here already."""

from __future__ import annotations

import os
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verger.cloud.deploy.provider import Say
from verger.errors import CloudError
from verger.storage.atomic import PART, write_atomically
from verger.storage.manifest import MANIFEST
from verger.storage.objects import ObjectInfo, ObjectPath

_AT_A_TIME = 8
_TOLD_AT_MOST = 3


def fetch_tree(source: ObjectPath, folder: Path, say: Say) -> None:
    """Copy every object below `source` into `folder`, the manifest last. One of the same size and time is here.

    Raises CloudError where there is nothing, and as `make_room` does.
    """
    objects = {_name(found, source): found for found in source.walk()}
    if not objects:
        raise CloudError(f"{source}: there is nothing there; see `verger cloud status`, and the job's OUT")
    make_room(str(source), folder, objects.keys())
    todo = [name for name, found in objects.items() if not _is_here(folder / name, found)]
    size = sum(objects[name].length for name in todo)
    if len(todo) < len(objects):
        say(f"{len(objects) - len(todo):,} of {len(objects):,} files are here already")
    if todo:
        say(f"fetching {len(todo):,} files, {size / 1e6:,.1f} MB")
    told = _Tenths(len(todo), say)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            for names in ([name for name in todo if name != MANIFEST], [name for name in todo if name == MANIFEST]):
                for done in [pool.submit(_fetch, source, name, objects[name], folder / name) for name in names]:
                    done.result()
                    told.one_more()
        except BaseException:  # Ctrl-C too: leaving the pool would fetch all that is left first
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _name(found: ObjectInfo, source: ObjectPath) -> str:
    """Return where an object lies below the folder; a key that would lead out of it is refused."""
    name = found.key.removeprefix(source.key).strip("/")
    if ".." in name.split("/"):
        raise CloudError(f"{source}: the object {found.key!r} would be written outside of the folder")
    return name


def make_room(source: str, folder: Path, names: Set[str]) -> None:
    """Remove from a folder what a fetch that was killed left there.

    Raises CloudError where `names`, those of the files below `source`, are not of a whole result, and where the
    folder holds others: tables are folders, and a file of another result would be read as a part of them.
    """
    if MANIFEST not in names:
        raise CloudError(
            f"{source} is no whole result, as it has no {MANIFEST}: a job is just putting it there, or died over "
            "that and the next one with this OUT finishes it (see `verger cloud status`); or this is no job's OUT"
        )
    existing = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    parts = {name for name in existing if name.endswith(PART)}
    strangers = sorted(existing.keys() - parts - names)
    if strangers:
        more = ", ..." * (len(strangers) > _TOLD_AT_MOST)
        raise CloudError(
            f"{folder} holds files that are not of this result ({', '.join(strangers[:_TOLD_AT_MOST])}{more}): "
            "name another folder, or remove it"
        )
    for name in parts:
        existing[name].unlink(missing_ok=True)


def _is_here(file: Path, found: ObjectInfo) -> bool:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return False
    return stat.st_size == found.length and stat.st_mtime_ns == found.modified_us * 1000


def _fetch(source: ObjectPath, name: str, found: ObjectInfo, file: Path) -> None:
    """Copy a file, which takes the object's time, to be known by."""
    with write_atomically(file) as beside:
        beside.write_bytes((source / name).read_bytes())
        os.utime(beside, ns=(found.modified_us * 1000, found.modified_us * 1000))


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
