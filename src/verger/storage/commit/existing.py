"""Check and read the files that exist at the path of a result, and in the staging folder beside it."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from verger.errors import ResultError, SourceError
from verger.storage.disk_space import FULL
from verger.storage.manifest import MANIFEST, find_manifest
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath, any_path, is_hadoop, is_within, remove_tree

# Names in a staging folder: the prefix of each run's folder, the lock, the intermediate files of the current run.
RUN, LOCK, SCRATCH = "run-", "lock", "scratch"
_PARTS = "features"

# Commands whose results --resume can continue.
_RESUMABLE = ("run", "features")


P = TypeVar("P", Path, ObjectPath)


def new_run(staging: P) -> P:
    """Return the path of a new run's folder; the names sort by time."""
    return staging / f"{RUN}{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(3)}"


def has_parts(run: AnyPath) -> bool:
    """Return whether a run has finished parts of the features, which a later run can reuse."""
    folder = run / _PARTS
    return folder.is_dir() and any(folder.glob("*.parquet"))


def clear(staging: AnyPath, *, keep_runs: bool) -> None:
    """Empty a staging folder, except its lock and, if `keep_runs`, the folders of runs that have finished parts."""
    entries: list[AnyPath] = list(staging.iterdir())
    for entry in entries:
        if entry.name == LOCK or (keep_runs and entry.name.startswith(RUN) and has_parts(entry)):
            continue
        if isinstance(entry, Path) and (entry.is_symlink() or not entry.is_dir()):
            entry.unlink()
        elif entry.is_dir():
            remove_tree(entry)
        else:
            entry.unlink()


def interrupted_after_switch(out: AnyPath) -> ResultError:
    """Return the error for an interrupt after the switch: the new result has already replaced the old one."""
    return ResultError(f"interrupted, but {out} is complete: it holds the new result")


def check_not_read(out: AnyPath, sources: Iterable[str]) -> None:
    """Raise ResultError if `out` is or contains a source (path, URI, glob), which the result would replace."""
    for source in sources:
        if is_hadoop(source):
            continue
        path = base = any_path(source)
        while glob.has_magic(str(base)):
            base = base.parent
        if is_within(path, out) or is_within(base, out):
            raise ResultError(f"the result in {out} would replace the source {source}: choose another folder")


def check_writable(out: AnyPath, *, overwrite: bool, resume: bool = False) -> None:
    """Raise ResultError if `out` may not be written.

    `overwrite` allows a run to replace any result, `resume` only a result of `verger run` or `verger features`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ResultError(f"{out} exists and is not a result of verger: choose another folder")
    if overwrite:
        return
    if not resume:
        raise ResultError(f"{out} holds a result: add --overwrite to replace it, or choose another folder")
    manifest = find_manifest(out)
    command = manifest.command if manifest is not None else ""
    if command not in _RESUMABLE:
        made_by = f"a result of `verger {command}`" if command else "a result of an unknown command"
        raise ResultError(
            f"{out} holds {made_by}, which --resume cannot continue: add --overwrite to replace it, or choose "
            "another folder"
        )


@contextmanager
def explain_unwritable(out: Path) -> Iterator[None]:
    """Translate an OSError about `out`, its parents or its staging folder into a ResultError that names `out`."""
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | Path) else None
        if path is None or error.errno in FULL or not _is_path_of(path, out):
            raise
        found = next(folder for folder in (path, *path.parents) if _exists(folder))
        folder = out.parent if found.is_relative_to(out.parent) and found != out else found
        cause = f"{error.strerror} ({folder})"
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            cause = f"{folder} is not a folder"
        raise ResultError(f"the result cannot be written to {out}: {cause}: choose another folder") from error


def _is_path_of(path: Path, out: Path) -> bool:
    """Return whether a path is `out`, in it, one of its parents, or in a hidden folder beside it."""
    if path.is_relative_to(out) or out.is_relative_to(path):
        return True
    is_beside = path.is_relative_to(out.parent) and path != out.parent
    return is_beside and path.relative_to(out.parent).parts[0].startswith(f".{out.name}.verger-")


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except OSError:
        return False


def table_folder(result: AnyPath, name: str) -> AnyPath:
    """Return the folder of a table, either `result`/`name` or `result` itself; raises SourceError."""
    for folder in (result / name, result):
        if folder.is_dir() and any(folder.glob("*.parquet")):
            return folder
    raise SourceError(
        f"{result} holds no {name}: expected a result of `verger run` or `verger features`, or its {name}/"
    )
