"""Folders verger shares between runs, and the hash of a file in them."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".verger-part"

_LOG_KEPT_S = 7 * 24 * 3600.0


def cache_dir() -> Path:
    """Return where verger keeps what it can make again: VERGER_CACHE, else the user's cache folder."""
    if named := os.environ.get("VERGER_CACHE"):
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "verger"


def state_dir() -> Path:
    """Return where verger notes what it has running: VERGER_STATE, else the user's state folder."""
    if named := os.environ.get("VERGER_STATE"):
        return Path(named).absolute()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "verger"


def keras_home() -> Path:
    """Return Keras' own folder, where its downloads lie."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def remove_old_logs(folder: Path, pattern: str) -> None:
    """Remove logs of a folder that were last written to more than a week ago."""
    for old in folder.glob(pattern):
        with suppress(OSError):  # another run may be doing the same
            if time.time() - old.stat().st_mtime > _LOG_KEPT_S:
                old.unlink()


@contextmanager
def switching(file: Path) -> Iterator[Path]:
    """Yield a name beside to write to, then give it `file`'s: a file of the right name is whole.

    It begins with a dot: what reads tables passes over what a kill leaves of it, which ends in PART. No two
    processes have the same: those of two containers on one disk may have equal pids.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}")
    try:
        yield beside
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def put_in_place(beside: Path, folder: Path) -> None:
    """Give a filled folder its name, at once, so that nobody sees half of it; raises OSError.

    `beside` must be on the same disk. Where another process has just put the same there, that stays.
    """
    try:
        beside.rename(folder)
    except OSError:
        if not (folder.is_dir() and any(folder.iterdir())):
            raise
        shutil.rmtree(beside)


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
