"""A PostgreSQL server of Debian's package, run by an ordinary user and reachable only through a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg

PASSWORD = "s3cret/never@shown"
MISSING = "needs PostgreSQL (Debian: postgresql)"
_TIMEOUT_S = 120
_numbers = count()


class Server:
    """A running server; its only user is a superuser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, database: str, password: str = PASSWORD) -> str:
        """The URL of one of its databases."""
        return f"postgresql://verger:{quote(password, safe='')}@/{database}?host={self.folder}"

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Create a database; yield its URL; drop it."""
        name = f"test_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian does not put them into PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


@contextmanager
def running_postgres(bin_folder: Path) -> Iterator[Server]:
    """Run a server in a temporary folder; its durability is off, because only its clients are killed."""
    folder = Path(tempfile.mkdtemp(prefix="verger-pg-"))  # short, and below a folder that every user can enter
    user = _ordinary_user()
    os.chown(folder, user.pw_uid, user.pw_gid)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data = folder / "data"
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    flags = ("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--pwfile={folder / 'password'}")
    initdb = [bin_folder / "initdb", "-D", data, "-U", "verger", "--auth=scram-sha-256", *flags]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)  # type: ignore[call-overload]
    options = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=60")
    start = ("setpriv", "--pdeathsig", "INT")  # the server ends with this process, also if this one is killed
    postgres = [
        *start,
        bin_folder / "postgres",
        "-D",
        data,
        *(part for option in options for part in ("-c", option)),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(postgres, stdout=log, stderr=log, cwd=folder, **who)  # type: ignore[call-overload]
    try:
        server = Server(folder)
        _wait(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # ends the connections of its clients
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def _ordinary_user() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root; Debian's package creates a user."""
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("postgres")


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((server.folder / "log").read_text()) from error
            time.sleep(0.05)
        else:
            return
