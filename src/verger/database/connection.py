"""Connections to the service's database, SQLite or PostgreSQL, and their transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from verger.database.database_url import hide_password, parse_url
from verger.database.engines import create_engine, locked_for_upgrade, reading_engine, writing_engine
from verger.database.schema import check_schema, upgrade_schema
from verger.errors import DatabaseError

_UNREACHABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


class Database:
    """A database with a pool of connections; threads may use it at the same time, processes open their own.

    Errors of the connection and of the server become DatabaseError.
    """

    def __init__(self, url: sa.URL, n_connections: int) -> None:
        self.url = url
        self._engine = create_engine(url, n_connections)
        self._reading_engine = reading_engine(self._engine)
        self._writing_engine = writing_engine(self._engine)

    @property
    def address(self) -> str:
        """The URL without its password."""
        return hide_password(self.url.render_as_string(hide_password=True))

    def upgrade(self) -> None:
        """Create the tables, or migrate them to the newest version; other processes that do the same wait."""
        with self._translated_errors(sa.exc.DBAPIError), locked_for_upgrade(self.url) as connection:
            upgrade_schema(connection)

    def check(self) -> None:
        """Raise DatabaseError if the database cannot be reached or its tables do not have the newest version."""
        with self.reading() as connection:
            check_schema(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that sees one state of the database; it is for queries only."""
        with self._translated_errors(*_UNREACHABLE), self._reading_engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, committed at the end of the block; an exception rolls it back.

        On SQLite only one such block runs at a time, in all processes; do not nest them.
        """
        with self._translated_errors(*_UNREACHABLE), self._writing_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections that no thread uses."""
        self._engine.dispose()

    @contextmanager
    def _translated_errors(self, *kinds: type[Exception]) -> Iterator[None]:
        try:
            yield
        except kinds as error:
            cause = getattr(error, "orig", None) or error
            raise DatabaseError(f"the database {self.address} fails: {' '.join(str(cause).split())}") from error


def open_database(url: str, *, n_connections: int = 20) -> Database:
    """Return the database at `url`; it connects when it is first used, with up to `n_connections` connections.

    Valid URLs are sqlite:///FILE and postgresql://USER:PASSWORD@HOST:PORT/NAME; SettingsError for all others.
    """
    return Database(parse_url(url), n_connections)
