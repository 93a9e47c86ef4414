"""A lock file, which only one command at a time can hold while it changes a cluster or a deployment."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verger.errors import VergerError


@contextmanager
def hold_lock(file: Path, if_held: VergerError) -> Iterator[None]:
    """Hold the lock of `file` (created if missing) in the block; raises `if_held` if another process holds it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise if_held from None
        yield
