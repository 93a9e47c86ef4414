"""Download of a result from an object store to a local folder; files that are there already are skipped."""

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

_N_THREADS = 8
_MAX_NAMES_SHOWN = 3


def fetch_tree(source: ObjectPath, folder: Path, say: Say) -> None:
    """Copy every object below `source` into `folder`, the manifest last; skip files of the same size and time.

    Raises CloudError if there are no objects, and the errors of `make_room`.
    """
    objects = {_relative_name(each, source): each for each in source.walk()}
    if not objects:
        raise CloudError(f"{source}: there is nothing there; see `verger cloud status`, and the job's OUT")
    make_room(str(source), folder, objects.keys())
    todo = [name for name, each in objects.items() if not _is_same_file(folder / name, each)]
    size = sum(objects[name].length for name in todo)
    if len(todo) < len(objects):
        say(f"{len(objects) - len(todo):,} of {len(objects):,} files are here already")
    if todo:
        say(f"fetching {len(todo):,} files, {size / 1e6:,.1f} MB")
    progress = _Progress(len(todo), say)
    with ThreadPoolExecutor(_N_THREADS) as pool:
        try:
            for names in ([name for name in todo if name != MANIFEST], [name for name in todo if name == MANIFEST]):
                for done in [pool.submit(_fetch, source, name, objects[name], folder / name) for name in names]:
                    done.result()
                    progress.count_one()
        except BaseException:  # also Ctrl-C: without a shutdown, leaving the pool would fetch all that is left
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _relative_name(info: ObjectInfo, source: ObjectPath) -> str:
    """Return an object's path relative to `source`; raises CloudError if it would lead out of the folder."""
    name = info.key.removeprefix(source.key).strip("/")
    if ".." in name.split("/"):
        raise CloudError(f"{source}: the object {info.key!r} would be written outside of the folder")
    return name


def make_room(source: str, folder: Path, names: Set[str]) -> None:
    """Remove the partial files that a killed fetch has left in a folder.

    Raises CloudError if `names`, the files below `source`, are not a complete result, and if the folder holds other
    files: tables are folders, and a file of another result would be read as a part of them.
    """
    if MANIFEST not in names:
        raise CloudError(
            f"{source} is not a complete result, as it has no {MANIFEST}: a job is writing it now, or failed while "
            "it wrote it, and the next job with this OUT completes it (see `verger cloud status`); or this is not "
            "the OUT of a job"
        )
    existing = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    parts = {name for name in existing if name.endswith(PART)}
    others = sorted(existing.keys() - parts - names)
    if others:
        more = ", ..." * (len(others) > _MAX_NAMES_SHOWN)
        raise CloudError(
            f"{folder} holds files of another result ({', '.join(others[:_MAX_NAMES_SHOWN])}{more}): name another "
            "folder, or remove it"
        )
    for name in parts:
        existing[name].unlink(missing_ok=True)


def _is_same_file(file: Path, info: ObjectInfo) -> bool:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return False
    return stat.st_size == info.length and stat.st_mtime_ns == info.modified_us * 1000


def _fetch(source: ObjectPath, name: str, info: ObjectInfo, file: Path) -> None:
    """Copy an object, and give the file the object's time, by which a later fetch recognises it."""
    with write_atomically(file) as part:
        part.write_bytes((source / name).read_bytes())
        os.utime(part, ns=(info.modified_us * 1000, info.modified_us * 1000))


class _Progress:
    """Reports the number of files ten times in all."""

    def __init__(self, n_files: int, say: Say) -> None:
        self._n_files, self._n_done, self._say = n_files, 0, say

    def count_one(self) -> None:
        """Count one file."""
        before, self._n_done = self._n_done * 10 // self._n_files, self._n_done + 1
        if self._n_done * 10 // self._n_files > before:
            self._say(f"{self._n_done:,} of {self._n_files:,} files")
