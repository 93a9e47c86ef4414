"""A lock in an object store: an object that names the run that owns the lock. The owner renews it while it runs.

All writes are conditional: a run creates the object only if it does not exist, and replaces it only if it still has
the version that the run has read. If two runs try to take the lock at the same time, only one of them gets it.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from verger.errors import ResultError, StorageError
from verger.storage.objects import ObjectPath, Version

# A run renews its lock at this interval. If a lock is not renewed for _DEAD_AFTER_S, its owner counts as dead.
_RENEWED_EVERY_S = 60.0
_DEAD_AFTER_S = 300.0
# If a store cannot replace under a condition: the time to wait for other runs that take the lock at the same time.
_SETTLED_AFTER_S = 2.0

# host, pid, processes (see _process_space), at (time of the last renewal), token (random, of this run only).
Owner = dict[str, Any]


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self.held_by: Owner = {}  # the other run that holds the lock, if `take` has failed
        self._token = secrets.token_hex(8)
        self._version: Version | None = None
        self._writing = threading.Lock()

    def take(self) -> bool:
        """Take the lock if it is free or its owner has died; return whether this run holds it now."""
        self._version = self._path.create(self._owner()) or self._take_over()
        return self._version is not None

    def _take_over(self) -> Version | None:
        current = self._read()
        if current is None:  # released a moment ago
            return self._path.create(self._owner())
        owner, version = current
        if owner.get("token") == self._token:
            return version  # this run has created the lock: the answer was lost, and the request was repeated
        self.held_by = owner
        return self._replace(owner, version) if _is_dead(owner) else None

    def _replace(self, owner: Owner, version: Version) -> Version | None:
        """Make this run the owner; return the new version, or None if another run was faster."""
        try:
            return self._path.replace(self._owner(), version) or self._own_version()
        except StorageError as error:
            if not error.is_unsupported:
                raise
            return self._replace_unconditionally(owner)

    def _replace_unconditionally(self, owner: Owner) -> Version | None:
        """Do the same as `_replace`, in a store without conditional replacement: delete the lock, then create one.

        If several runs do this with the lock of a dead run, the run that creates its lock last holds it. So each
        run waits, then checks that the lock is its own.
        """
        current = self._read()
        if current is None or current[0] != owner:
            return None
        self._path.unlink()
        if self._path.create(self._owner()) is None:
            return None
        if owner.get("token") != self._token:
            time.sleep(_SETTLED_AFTER_S)
        return self._own_version()

    def _own_version(self) -> Version | None:
        current = self._read()
        return current[1] if current and current[0].get("token") == self._token else None

    def _read(self) -> tuple[Owner, Version] | None:
        try:
            content, version = self._path.read_version()
        except FileNotFoundError:
            return None
        return json.loads(content), version

    def renew(self) -> None:
        """Write the current time into the lock if this run still holds it; raises StorageError."""
        with self._writing:
            current = self._read() if self._version else None
            is_own = current is not None and current[0].get("token") == self._token
            self._version = self._replace(*current) if current and is_own else None

    def check(self) -> None:
        """Raise ResultError if another run has taken the lock because this run seemed dead."""
        self.renew()
        if self._version is None:
            raise ResultError(
                f"another run has taken over {self._path.parent}, because this run did not renew its lock for "
                f"{_DEAD_AFTER_S:.0f} s; nothing was changed: run again"
            )

    def release(self) -> None:
        """Remove the lock, unless another run has taken it; raises StorageError."""
        if self._own_version():
            self._path.unlink()

    def _owner(self) -> bytes:
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "processes": _process_space(),
            "at": time.time(),
            "token": self._token,
        }
        return json.dumps(owner).encode()


@contextmanager
def locked(path: ObjectPath) -> Iterator[Lock]:
    """Hold a lock during the block; raises ResultError if another run holds it."""
    lock = Lock(path)
    if not lock.take():
        other = f"another run{_describe_owner(lock.held_by)}"
        raise ResultError(f"{other} is writing to {path.parent}: wait for it, or choose another folder")
    is_over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, is_over), name="verger-lock", daemon=True)
    renewing.start()
    try:
        yield lock
    finally:
        is_over.set()
        renewing.join()
        with suppress(StorageError):
            lock.release()


def _renew(lock: Lock, is_over: threading.Event) -> None:
    while not is_over.wait(_RENEWED_EVERY_S):
        with suppress(StorageError):
            lock.renew()


def _describe_owner(owner: Owner) -> str:
    """Return the process and the machine of a lock's owner; empty if the lock does not name them."""
    return f" (process {owner['pid']} on {owner['host']})" if {"pid", "host"} <= owner.keys() else ""


@functools.cache
def _process_space() -> str:
    """Return an id that is the same for all processes that can see each other's pids.

    On Linux it consists of the ids of the boot and of the PID namespace. On other systems it is the hostname, which
    several machines or containers may share.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _is_dead(owner: Owner) -> bool:
    """Return whether the owner of a lock has ended. In containers, a new process often has the same pid."""
    at = owner.get("at", time.time())
    if owner.get("processes") == _process_space():
        with suppress(psutil.Error):  # a system may hide the processes of other users
            return not psutil.pid_exists(owner["pid"]) or psutil.Process(owner["pid"]).create_time() > at
    return bool(time.time() - at > _DEAD_AFTER_S)
