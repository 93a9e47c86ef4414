"""Folders in the user's home that all runs use (cache, state, Keras' downloads), and the removal of old logs."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_MAX_LOG_AGE_S = 7 * 24 * 3600.0


def cache_dir() -> Path:
    """Return the folder for files that verger can compute again: VERGER_CACHE, or a folder in the user's cache."""
    if path := os.environ.get("VERGER_CACHE"):
        return Path(path).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "verger"


def state_dir() -> Path:
    """Return the folder for records of clusters and deployments: VERGER_STATE, or the user's state folder."""
    if path := os.environ.get("VERGER_STATE"):
        return Path(path).absolute()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "verger"


def keras_home() -> Path:
    """Return the folder to which Keras downloads weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def remove_old_logs(folder: Path, pattern: str) -> None:
    """Remove the logs in a folder that were last written more than a week ago."""
    for log in folder.glob(pattern):
        with suppress(OSError):  # another run may remove it at the same time
            if time.time() - log.stat().st_mtime > _MAX_LOG_AGE_S:
                log.unlink()
