"""Folders in the user's home that all runs use (cache, state, Keras' downloads), and the removal of old logs."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from verger.errors import SetupError

CACHE_VARIABLE, STATE_VARIABLE = "VERGER_CACHE", "VERGER_STATE"

_MAX_LOG_AGE_S = 7 * 24 * 3600.0
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_dir() -> Path:
    """Return the folder for files that verger can compute again: VERGER_CACHE, or a folder in the user's cache.

    In a container with an arbitrary uid, the user may have no home that can be written to. Then the folder is in
    the temporary folder, and only this user can write to it. Raises SetupError if another user owns the folder or
    can write to it.
    """
    return _own_folder(CACHE_VARIABLE, "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Return the folder for records of clusters and deployments: VERGER_STATE, or the user's state folder.

    Without a home, the folder is in the temporary folder, as for `cache_dir`. A folder that exists is used even if
    it cannot be written to: its records may be those of a deployment that costs money.
    """
    return _own_folder(STATE_VARIABLE, "XDG_STATE_HOME", ".local/state", is_usable=_can_be_read_or_written)


def keras_home() -> Path:
    """Return the folder to which Keras downloads weights, by Keras' own rule."""
    if path := os.environ.get("KERAS_HOME"):
        return Path(path)
    home = user_home()
    return (home if home is not None and os.access(home, os.W_OK) else Path("/tmp")) / ".keras"  # noqa: S108


def user_home() -> Path | None:
    """Return the user's home folder; None if HOME is not set and the user has no entry in /etc/passwd."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def set_home() -> None:
    """Set HOME to a folder of this user if there is none: libraries such as OpenVINO need a home."""
    if user_home() is None:
        os.environ["HOME"] = str(_temporary_folder("HOME"))


def remove_old_logs(folder: Path, pattern: str) -> None:
    """Remove the logs in a folder that were last written more than a week ago."""
    for log in folder.glob(pattern):
        with suppress(OSError):  # another run may remove it at the same time
            if time.time() - log.stat().st_mtime > _MAX_LOG_AGE_S:
                log.unlink()


def _own_folder(own: str, shared: str, in_home: str, is_usable: Callable[[Path], bool] | None = None) -> Path:
    """Return the folder that the variable `own` names; without it a folder called verger.

    The latter is in the folder that the variable `shared` names, or in the folder `in_home` of the user's home. If
    it is not usable (default: it cannot be written to), a folder in the temporary folder is returned.
    """
    if path := os.environ.get(own):
        return Path(path).absolute()
    home = user_home()
    parents = [Path(path)] if (path := os.environ.get(shared)) else [home / in_home] if home is not None else []
    for folder in (parent / "verger" for parent in parents):
        if (is_usable or _can_be_written)(folder):
            return folder
    return _temporary_folder(own) / Path(in_home).name.removeprefix(".")


def _can_be_written(folder: Path) -> bool:
    """Return whether the folder, or the nearest parent that exists, can be written to."""
    existing = next((parent for parent in (folder, *folder.parents) if os.path.lexists(parent)), Path("/"))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _can_be_read_or_written(folder: Path) -> bool:
    return _can_be_written(folder) or (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK))


def _temporary_folder(variable: str) -> Path:
    """Return this user's folder in the temporary folder, where it is created if it is missing.

    Raises SetupError if another user owns the folder or can write to it, because workers load files from it.
    """
    folder = Path(tempfile.gettempdir()) / f"verger-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_own or found.st_mode & _WRITABLE_BY_OTHERS:
        raise SetupError(
            f"no folder for verger's files: the user has no home that can be written to, and other users "
            f"can write to {folder}: set {variable} to a folder of your own"
        )
    return folder
