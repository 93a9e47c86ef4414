"""Connections to the service's database, SQLite or PostgreSQL, and their transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from verger.database.database_url import hide_password, parse_url
from verger.database.engines import create_engine, locked_for_upgrade, reading_engine, writing_engine
from verger.database.schema import check_schema, upgrade_schema
from verger.errors import DatabaseError

# A statement of ours is wrong, or a row violates a constraint: the caller's mistake, not a failure of the database.
_MISTAKES = (sa.exc.DataError, sa.exc.IntegrityError, sa.exc.NotSupportedError, sa.exc.ProgrammingError)


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
        with self._translated_errors(), locked_for_upgrade(self.url) as connection:
            upgrade_schema(connection)

    def check(self) -> None:
        """Raise DatabaseError if the database cannot be reached or its tables do not have the newest version."""
        with self.reading() as connection:
            check_schema(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that sees one state of the database; it is for queries only."""
        with self._translated_errors(_MISTAKES), self._reading_engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, committed at the end of the block; an exception rolls it back.

        On SQLite only one such block runs at a time, in all processes; do not nest them.
        """
        with self._translated_errors(_MISTAKES), self._writing_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections that no thread uses."""
        self._engine.dispose()

    @contextmanager
    def _translated_errors(self, mistakes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Translate SQLAlchemy's errors, except those of these classes that a statement has caused."""
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            if isinstance(error, mistakes) and getattr(error, "statement", None) is not None:
                raise
            cause = getattr(error, "orig", None) or error
            raise DatabaseError(f"the database {self.address} fails: {' '.join(str(cause).split())}") from error


def open_database(url: str, *, n_connections: int = 20) -> Database:
    """Return the database at `url`; it connects when it is first used, with up to `n_connections` connections.

    Valid URLs are sqlite:///FILE and postgresql://USER:PASSWORD@HOST:PORT/NAME; SettingsError for all others.
    """
    return Database(parse_url(url), n_connections)
