"""Parsing of `database_url`. Error messages never contain its password."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from verger.errors import SettingsError

_VALID = (
    "sqlite:///FILE (relative), sqlite:////FOLDER/FILE (absolute), or postgresql://USER:PASSWORD@HOST:PORT/NAME "
    "with special characters of the password percent-encoded"
)


def parse_url(text: str) -> sa.URL:
    """Return the URL of a database of SQLite or PostgreSQL; raises SettingsError for all others."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("database_url", hide_password(text), _VALID) from None
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    # Options and `:memory:` are not allowed: each connection of the pool would open its own database.
    is_file = url.database not in (None, "", ":memory:") and not url.query and not url.host
    if url.drivername in ("sqlite", "sqlite+pysqlite") and is_file:
        return _sqlite_url(text, Path(str(url.database)))
    raise SettingsError("database_url", hide_password(text), _VALID)


def hide_password(text: str) -> str:
    """Return a URL, which may be invalid, without what could be a password."""
    text = re.sub(r"//.*@", "//***@", text, flags=re.DOTALL)
    return re.sub(r"(password=)[^&]*", r"\1***", text, flags=re.IGNORECASE)


def _sqlite_url(text: str, file: Path) -> sa.URL:
    """Return the URL of the absolute path of a database file, so that a later chdir does not matter."""
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise SettingsError("database_url", text, "a file in an existing folder")
    return sa.URL.create("sqlite", database=str(file.absolute()))
