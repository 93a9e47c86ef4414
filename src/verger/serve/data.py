"""The database of a service, with its tables migrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verger.database.connection import Database, open_database
from verger.serve.settings import DEFAULT_DATABASE, DEFAULT_FOLDER, ServeSettings


def open_migrated(settings: ServeSettings) -> Database:
    """Return the database of the settings with the newest tables; the folder of the default one is created.

    Raises SettingsError or DatabaseError.
    """
    if settings.database_url == DEFAULT_DATABASE:
        Path(DEFAULT_FOLDER).mkdir(exist_ok=True)
    database = open_database(settings.database_url)
    database.upgrade()
    return database


@contextmanager
def migrated_database(settings: ServeSettings) -> Iterator[Database]:
    """Yield the database of `open_migrated`, and close it after the block."""
    database = open_migrated(settings)
    try:
        yield database
    finally:
        database.close()
