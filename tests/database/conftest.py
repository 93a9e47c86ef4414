"""Databases of both kinds: every test that uses one of these fixtures runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import MISSING, Server, programs, running_postgres
from verger.database.connection import Database, open_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of this process."""
    folder = programs()
    if folder is None:
        pytest.skip(MISSING)
    with running_postgres(folder) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'verger.db'}"
        return
    server: Server = request.getfixturevalue("postgres")
    with server.new_database() as url:
        yield url


@pytest.fixture
def empty(url: str) -> Iterator[Database]:
    """A database without tables."""
    database = open_database(url)
    yield database
    database.close()


@pytest.fixture
def database(empty: Database) -> Database:
    """A database with its tables."""
    empty.upgrade()
    return empty
