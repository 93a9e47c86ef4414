"""A lock in an object store: an object with its owner's name, which the owner renews while it runs.

Its writes are conditional: the object is created where there is none, and replaced where it is still the version
that was read. Of two runs that want the lock at the same time the store lets one through.
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

# A run renews its lock so often; one that has not been renewed for so long belongs to a run that has died.
_RENEWED_EVERY_S = 60.0
_DEAD_AFTER_S = 300.0
# Time for others to have done what they are about to do, where a store has no conditional writes.
_SETTLED_AFTER_S = 2.0

# host, pid, processes (see _process_space), at (the time of the last renewal), token (of this run alone).
Owner = dict[str, Any]


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self.held_by: Owner = {}  # whoever has kept `take` from taking it
        self._token = secrets.token_hex(8)
        self._version: Version | None = None
        self._writing = threading.Lock()

    def take(self) -> bool:
        """Take the lock where it is free, or its owner has died; return whether it is ours."""
        self._version = self._path.create(self._owner()) or self._take_over()
        return self._version is not None

    def _take_over(self) -> Version | None:
        found = self._read()
        if found is None:  # its owner ended just now
            return self._path.create(self._owner())
        owner, version = found
        if owner.get("token") == self._token:
            return version  # created by a request whose answer was lost, and which was made again
        self.held_by = owner
        return self._replace(owner, version) if _is_dead(owner) else None

    def _replace(self, owner: Owner, version: Version) -> Version | None:
        """Write our name in place of an owner's; return the version, or None where another run was first."""
        try:
            return self._path.replace(self._owner(), version) or self._version_of_ours()
        except StorageError as error:
            if not error.is_unsupported:
                raise
            return self._replace_unconditionally(owner)

    def _replace_unconditionally(self, owner: Owner) -> Version | None:
        """Do the same where a store can create, but not replace, under a condition.

        Of several runs that delete a dead lock the last to create its own keeps it: all look again after a while.
        """
        found = self._read()
        if found is None or found[0] != owner:
            return None
        self._path.unlink()
        if self._path.create(self._owner()) is None:
            return None
        if owner.get("token") != self._token:
            time.sleep(_SETTLED_AFTER_S)
        return self._version_of_ours()

    def _version_of_ours(self) -> Version | None:
        found = self._read()
        return found[1] if found and found[0].get("token") == self._token else None

    def _read(self) -> tuple[Owner, Version] | None:
        try:
            held, version = self._path.read_version()
        except FileNotFoundError:
            return None
        return json.loads(held), version

    def renew(self) -> None:
        """Write the time into the lock, while it is ours; raises StorageError."""
        with self._writing:
            found = self._read() if self._version else None
            is_ours = found is not None and found[0].get("token") == self._token
            self._version = self._replace(*found) if found and is_ours else None

    def check(self) -> None:
        """Raise ResultError where another run has taken the lock: this one seemed dead for minutes."""
        self.renew()
        if self._version is None:
            raise ResultError(
                f"another run has taken over {self._path.parent}: this one did not renew its lock for "
                f"{_DEAD_AFTER_S:.0f} s; nothing was changed"
            )

    def release(self) -> None:
        """Remove the lock, unless another run has taken it; raises StorageError."""
        if self._version_of_ours():
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
    """Hold a lock; raises ResultError where another run holds it."""
    lock = Lock(path)
    if not lock.take():
        raise ResultError(
            f"another run{_who(lock.held_by)} is writing to {path.parent}: wait for it, or choose another folder"
        )
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


def _who(owner: Owner) -> str:
    """Return process and machine of a run, where its lock names them."""
    return f" (process {owner['pid']} on {owner['host']})" if {"pid", "host"} <= owner.keys() else ""


@functools.cache
def _process_space() -> str:
    """Return what processes have in common that know each other by their pids: boot and PID namespace (Linux).

    A hostname may be that of several machines or containers. It is returned where the system does not tell more.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _is_dead(owner: Owner) -> bool:
    """Return whether the process that holds a lock has ended; its number may be in use again, as in a container."""
    at = owner.get("at", time.time())
    if owner.get("processes") == _process_space():
        with suppress(psutil.Error):  # a system may say nothing of the processes of other users
            return not psutil.pid_exists(owner["pid"]) or psutil.Process(owner["pid"]).create_time() > at
    return bool(time.time() - at > _DEAD_AFTER_S)
