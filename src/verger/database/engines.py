"""SQLAlchemy engines, configured for SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from verger.errors import DatabaseError

# How long a writer waits for other writers of an SQLite database, and a migration for another process's.
_BUSY_TIMEOUT_S = 60
_UPGRADE_TIMEOUT_S = 600
_CONNECT_TIMEOUT_S = 10
_POOLED_CONNECTIONS = 5  # that stay open
_UPGRADE_LOCK = 0x766572676572  # the number of a lock in PostgreSQL: "verger" in ASCII
_BEGIN = "sqlite_begin"  # our execution option: the statement that begins a transaction


def create_engine(url: sa.URL, n_connections: int) -> sa.Engine:
    """Return an engine with a pool of up to `n_connections` connections."""
    pooled = min(n_connections, _POOLED_CONNECTIONS)
    pool = {"pool_size": pooled, "max_overflow": n_connections - pooled}
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, _BUSY_TIMEOUT_S, is_checked=True, **pool)
    # pool_pre_ping: replace connections that a restart of the server has closed.
    return _postgresql_engine(url, pool_pre_ping=True, **pool)


def reading_engine(engine: sa.Engine) -> sa.Engine:
    """Return a view of the engine whose transactions read one state of the database."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing_engine(engine: sa.Engine) -> sa.Engine:
    """Return a view of the engine whose transactions write."""
    # IMMEDIATE waits for other writers. A transaction that begins with a query cannot wait: SQLite lets it fail.
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


@contextmanager
def locked_for_upgrade(url: sa.URL) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that no other process can migrate at the same time."""
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url, _UPGRADE_TIMEOUT_S, is_checked=False, poolclass=sa.NullPool)
    else:
        engine = _postgresql_engine(url, poolclass=sa.NullPool)
    with writing_engine(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        yield connection
        if connection.dialect.name == "sqlite":
            violations = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if violations:
                raise DatabaseError(f"the migration is undone, because it breaks references: {violations[:5]}")


def _postgresql_engine(url: sa.URL, **options: Any) -> sa.Engine:
    timeout = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT_S}
    return sa.create_engine(url, hide_parameters=True, connect_args=timeout, **options)


def _sqlite_engine(url: sa.URL, busy_timeout_s: float, is_checked: bool, **options: Any) -> sa.Engine:
    """Return an engine for SQLite; is_checked: references between tables are enforced.

    A migration copies tables and drops the old ones; with enforced references that would delete rows of others.
    """
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": busy_timeout_s}, **options)

    def create_file(*_: object) -> None:
        _create_private_file(str(url.database))

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # begin_transaction below begins transactions, not Python's sqlite3
        _set_wal(connection, busy_timeout_s)
        connection.execute("PRAGMA synchronous = FULL")  # committed rows survive a power failure
        connection.execute("PRAGMA secure_delete = ON")  # deleted content is overwritten in the file
        connection.execute(f"PRAGMA foreign_keys = {'ON' if is_checked else 'OFF'}")

    def begin_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    sa.event.listen(engine, "do_connect", create_file)
    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", begin_transaction)
    return engine


def _set_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Let readers and a writer work at the same time; the setting stays in the file.

    SQLite's own timeout does not apply to this statement when two processes open a new file.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _create_private_file(file: str) -> None:
    """Create an empty database that only its owner can read; SQLite gives its other files the same permissions."""
    with suppress(OSError):  # usually it exists; SQLite reports other errors
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
