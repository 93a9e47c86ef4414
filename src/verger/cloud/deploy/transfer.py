"""Download a result from an object store to a local folder, except for files that the folder already has."""

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
    """Copy every object below `source` into `folder`, the manifest last.

    A file that has the same size and time in the folder is skipped. Raises CloudError if there are no objects, and
    the errors of `make_room`.
    """
    objects = {_relative_name(each, source): each for each in source.walk()}
    if not objects:
        raise CloudError(f"{source} is empty: check that it is the OUT of a job, and see `verger cloud status`")
    make_room(str(source), folder, objects.keys())
    todo = [name for name, each in objects.items() if not _is_same_file(folder / name, each)]
    size = sum(objects[name].length for name in todo)
    if len(todo) < len(objects):
        say(f"{len(objects) - len(todo):,} of {len(objects):,} files were downloaded before")
    if todo:
        say(f"fetching {len(todo):,} files, {size / 1e6:,.1f} MB")
    progress = _Progress(len(todo), say)
    with ThreadPoolExecutor(_N_THREADS) as pool:
        try:
            for names in ([name for name in todo if name != MANIFEST], [name for name in todo if name == MANIFEST]):
                for done in [pool.submit(_fetch, source, name, objects[name], folder / name) for name in names]:
                    done.result()
                    progress.count_one()
        except BaseException:  # also Ctrl-C: otherwise the end of the block would wait for all other downloads
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _relative_name(info: ObjectInfo, source: ObjectPath) -> str:
    """Return an object's path relative to `source`; raises CloudError if this path would leave the folder."""
    name = info.key.removeprefix(source.key).strip("/")
    if ".." in name.split("/"):
        raise CloudError(f"{source}: the object {info.key!r} would be written outside the folder")
    return name


def make_room(source: str, folder: Path, names: Set[str]) -> None:
    """Remove the partial files that a killed fetch has left in a folder.

    Raises CloudError if `names`, the files below `source`, are not a complete result. Also raises CloudError if the
    folder has files that are not in `names`: tables are folders, so such a file would be read as a part of a table.
    """
    if MANIFEST not in names:
        raise CloudError(
            f"{source} is not a complete result: it has no {MANIFEST}. See `verger cloud status`: if a job is "
            "writing it, wait; if the job has failed, submit it again with this OUT; otherwise check the path"
        )
    existing = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    parts = {name for name in existing if name.endswith(PART)}
    others = sorted(existing.keys() - parts - names)
    if others:
        more = ", ..." * (len(others) > _MAX_NAMES_SHOWN)
        raise CloudError(
            f"{folder} has files of another result ({', '.join(others[:_MAX_NAMES_SHOWN])}{more}): choose another "
            "folder, or remove this one"
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
    """Copy an object, and set the file's time to the object's, so that a later fetch can skip the file."""
    with write_atomically(file) as part:
        part.write_bytes((source / name).read_bytes())
        os.utime(part, ns=(info.modified_us * 1000, info.modified_us * 1000))


class _Progress:
    """Reports the number of downloaded files, ten times in total."""

    def __init__(self, n_files: int, say: Say) -> None:
        self._n_files, self._n_done, self._say = n_files, 0, say

    def count_one(self) -> None:
        """Count one file."""
        before, self._n_done = self._n_done * 10 // self._n_files, self._n_done + 1
        if self._n_done * 10 // self._n_files > before:
            self._say(f"{self._n_done:,} of {self._n_files:,} files")
