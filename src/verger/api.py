"""The Python API: `verger.run`, `features`, `reduce` and `pack`.

Each function accepts the settings of its command as keyword arguments (`verger run --show-settings` lists them) and
returns the manifest. Paths may be local or URIs of object stores. Raises SettingsError for an invalid setting, and
other exceptions of `verger.errors`.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

from verger.pipeline import chain
from verger.process.progress import Progress, SilentProgress
from verger.settings import load_settings
from verger.storage.manifest import Manifest
from verger.storage.uri import any_path

Location = str | PathLike[str]

_SILENT = SilentProgress()


def run(src: Location, out: Location, *, progress: Progress = _SILENT, **settings: Any) -> Manifest:
    """Compute features and components of the photos at `src`, and write them and a report to `out`.

    >>> verger.run("photos/", "out/", model="fruitnet", variance=0.95, overwrite=True)  # doctest: +SKIP
    """
    return chain.run(fspath(src), any_path(fspath(out)), load_settings(**settings), progress)


def features(src: Location, out: Location, *, progress: Progress = _SILENT, **settings: Any) -> Manifest:
    """Compute the features of the photos at `src`: the first half of `run`."""
    return chain.features(fspath(src), any_path(fspath(out)), load_settings(**settings), progress)


def reduce(
    src: Location, out: Location, *, update: Location | None = None, progress: Progress = _SILENT, **settings: Any
) -> Manifest:
    """Compute the principal components of the features of a result: the second half of `run`.

    update: an earlier result. Its PCA is updated with the features; without `update` a new PCA is fitted.
    """
    state = None if update is None else any_path(fspath(update))
    return chain.reduce(any_path(fspath(src)), any_path(fspath(out)), load_settings(**settings), progress, state)


def pack(src: Location, out: Location, *, progress: Progress = _SILENT, **settings: Any) -> Manifest:
    """Pack many small photos into a few large files, which `run` and `features` accept as `src`."""
    return chain.pack(fspath(src), any_path(fspath(out)), load_settings(**settings), progress)
