from __future__ import annotations

import re
import sqlite3
import stat
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.observations import NOW, OWNER, new_observation
from tests.support.postgres import PASSWORD, Server
from verger.database.connection import Database, open_database
from verger.database.observation_records import Feedback
from verger.database.observations import add_observation, find_observation, list_observations, set_feedback
from verger.database.tables import METADATA, batches
from verger.errors import DatabaseError, SettingsError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "verger.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/verger.db",
        "sqlite:///verger.db?mode=ro",
        "sqlite+aiosqlite:///verger.db",
        f"mysql://user:{SECRET}@host/verger",
        f"postgres://user:{SECRET}@host/verger",
        f"postgresql+asyncpg://user:{SECRET}@host/verger",
        f"postgresql://user:{SECRET}@host:port/verger",
        f"postgresql://user:{SECRET}@{SECRET}@host:port/ver@ger",
        f"oracle://host/verger?user=u&password={SECRET}&x=y",
        f"//user:{SECRET}@host",
    ],
)
def test_an_invalid_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_database(url)
    message = str(caught.value)
    assert message.startswith("database_url = ") and "sqlite:///FILE" in message and "postgresql://USER" in message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "verger.db", tmp_path):
        with pytest.raises(SettingsError, match="expected a file in an existing folder"):
            open_database(f"sqlite:///{path}")


def test_a_relative_file_stays_the_same_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = open_database("sqlite:///verger.db")
    monkeypatch.chdir("/")
    database.upgrade()
    database.close()
    assert (tmp_path / "verger.db").is_file()


@pytest.mark.parametrize("is_upgraded", [True, False])
def test_an_sqlite_file_is_private(is_upgraded: bool, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'verger.db'}")
    if is_upgraded:
        database.upgrade()
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE more (id INTEGER)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()
    assert set(modes.values()) == {0o600} and "verger.db-wal" in modes


def test_an_upgrade_waits_for_a_writer_that_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = sqlite3.connect(tmp_path / "verger.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(time, "sleep", lambda _: writer.commit())  # when the upgrade waits
    database = open_database(f"sqlite:///{tmp_path / 'verger.db'}")
    database.upgrade()
    assert not writer.in_transaction
    writer.close()
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "verger.db").write_bytes(b"not a database" * 100)
    database = open_database(f"sqlite:///{tmp_path / 'verger.db'}")
    for use in (database.check, database.upgrade):
        with pytest.raises(DatabaseError, match=r"verger\.db fails: file is not a database"):
            use()


@pytest.mark.parametrize(
    "place", ["127.0.0.1:1/verger", "/verger?host=/nowhere", "127.0.0.1:1/verger?sslmode=x", "/v?a=b"]
)
def test_a_server_that_cannot_be_reached_is_reported_without_the_password(place: str) -> None:
    database = open_database(f"postgresql://user:{SECRET}@{place}")
    for use in (database.check, database.upgrade):
        with pytest.raises(DatabaseError, match=re.escape("postgresql+psycopg://***@")) as caught:
            use()
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_reported_and_not_shown(postgres: Server) -> None:
    database = open_database(postgres.url("postgres", SECRET))
    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        database.check()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    database = open_database(postgres.url("missing"))
    with pytest.raises(DatabaseError, match='database "missing" does not exist') as caught:
        database.check()
    assert "never@shown" not in "".join(traceback.format_exception(caught.value))
    assert "never" in PASSWORD and "never" not in repr(database.url) and "never" not in database.address


def test_values_are_not_shown_in_errors(database: Database) -> None:
    new = new_observation("a/0", answer={"person": SECRET})
    add_observation(database, new)
    with pytest.raises(sa.exc.IntegrityError) as caught:
        add_observation(database, new)
    text = str(caught.value).split("DETAIL")[0]
    assert SECRET not in text and OWNER not in text


def test_connections_that_the_server_closed_are_replaced(postgres: Server) -> None:
    with postgres.new_database() as url:
        database = open_database(url)
        database.upgrade()
        database.check()
        other = open_database(url)
        with other.reading() as connection:
            query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            ended = connection.exec_driver_sql(query + " AND datname = current_database()").scalar_one()
        assert ended == 1
        database.check()
        other.close()
        database.close()


def test_a_failed_block_is_rolled_back(database: Database) -> None:
    row = {"stream_id": "s", "batch_id": 1, "committed_at": NOW, "counts": {}}
    with pytest.raises(KeyError), database.writing() as connection:
        connection.execute(batches.insert(), row)
        raise KeyError
    with database.reading() as connection:
        assert connection.execute(sa.select(batches)).all() == []


def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    with database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(METADATA.tables["observations"])
        before = connection.scalar(count)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(add_observation, database, new_observation("a/0")).result()
        assert connection.scalar(count) == before == 0
    assert list_observations(database, OWNER, 10, 0)[1] == 1


def test_more_threads_than_connections_wait_for_one(url: str) -> None:
    database = open_database(url, n_connections=2)
    database.upgrade()
    barrier = threading.Barrier(16)

    def work(number: int) -> None:
        barrier.wait()
        add_observation(database, new_observation(f"{number}/0"))
        list_observations(database, OWNER, 5, 0)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))
    assert list_observations(database, OWNER, 1, 0)[1] == 16
    database.close()


def test_characters_that_cannot_be_stored_are_removed(database: Database) -> None:
    new = new_observation("a/0")
    add_observation(database, new)
    stored = set_feedback(database, new.id, OWNER, Feedback(False, None, "a\0b \ud800 🍐", NOW))
    assert stored and stored.comment == "ab ? 🍐"
    assert find_observation(database, "\0", OWNER) is None and find_observation(database, "\udfff", OWNER) is None
