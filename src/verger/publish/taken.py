"""What is at the place of a result already."""

from __future__ import annotations

from pathlib import Path

from verger.errors import ResultError, SourceError
from verger.uri import AnyPath

MANIFEST = "manifest.json"

# What is in the staging place: the new result, and what a run has done so far (see `featurize.journal`).
RESULT, JOURNAL = "result", "journal"


def in_place_already(out: AnyPath) -> ResultError:
    """Return what an interrupt is told as that comes after the switch: it is too late to change nothing."""
    return ResultError(f"interrupted when {out} was in place already: it is the new result")


def check_free(out: AnyPath, *, overwrite: bool) -> None:
    """Raise ResultError where `out` may not be written."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ResultError(f"{out} exists and is not a result of verger: choose another folder")
    if not overwrite:
        raise ResultError(f"{out} holds a result: add --overwrite to replace it, or choose another folder")


def table_folder(result: AnyPath, name: str) -> AnyPath:
    """Return where a table lies: in a result of verger, or in the folder itself; raises SourceError."""
    for folder in (result / name, result):
        if folder.is_dir() and any(folder.glob("*.parquet")):
            return folder
    raise SourceError(
        f"{result} holds no {name}: expected a result of `verger run` or `verger features`, or its {name}/"
    )


def holds_tables(folder: AnyPath) -> bool:
    """Tell whether anything has been written to a folder of folders of tables."""
    if isinstance(folder, Path):
        return any(folder.rglob("*.parquet"))
    return folder.is_dir()
