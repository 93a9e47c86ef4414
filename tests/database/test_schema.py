from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from tests.support.database_writer import Writer, start_at_once
from tests.support.observations import NOW, OWNER, new_observation
from verger.database.connection import Database, open_database
from verger.database.deletions import delete_observation
from verger.database.engines import locked_for_upgrade
from verger.database.observations import add_observation, find_observation
from verger.database.schema import head_version, migrate
from verger.database.tables import METADATA
from verger.errors import DatabaseError


def differences(connection: sa.Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.reading() as connection:
        assert differences(connection) == []
        tables = {*sa.inspect(connection).get_table_names()}
        checks = [
            check["name"] for table in tables for check in sa.inspect(connection).get_check_constraints(table)
        ]
    assert tables == {*METADATA.tables, "alembic_version"}
    assert checks == ["ck_facts_language"]


def test_down_and_up_again(database: Database) -> None:
    with database.writing() as connection:
        migrate(connection, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    with pytest.raises(DatabaseError, match="has no tables of verger"):
        database.check()
    database.upgrade()
    database.check()
    with database.reading() as connection:
        assert differences(connection) == []


def test_an_upgrade_of_an_upgraded_database_keeps_its_rows(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(METADATA.tables["batches"].insert(), _batch())
    database.upgrade()
    with database.reading() as connection:
        assert connection.scalar(sa.select(METADATA.tables["batches"].c.batch_id)) == 2**40


def _batch() -> dict[str, object]:
    return {"stream_id": "s", "batch_id": 2**40, "committed_at": NOW, "counts": {"photos": 3}}


def test_a_database_without_tables_is_refused(empty: Database) -> None:
    with pytest.raises(DatabaseError, match=f"no tables of verger, this verger needs version {head_version()}"):
        empty.check()


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for refuse in (database.check, database.upgrade):
        with pytest.raises(DatabaseError, match="version 9999, but this verger knows only versions up to 0001"):
            refuse()


def test_a_failed_migration_leaves_nothing(empty: Database) -> None:
    with empty.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE models (other INTEGER)")  # the migration cannot create its own
    with pytest.raises(DatabaseError, match="models"):
        empty.upgrade()
    with empty.reading() as connection:
        assert sa.inspect(connection).get_table_names() == ["models"]


def test_a_migration_that_copies_a_table_keeps_the_rows_that_refer_to_it(database: Database) -> None:
    new = new_observation("a/0")
    add_observation(database, new)
    with locked_for_upgrade(database.url) as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("observations") as table:
            table.alter_column("model", existing_type=sa.Text(), nullable=True)
    found = find_observation(database, new.id, OWNER)
    assert found and found.photos[0].storage_key == "a/0"
    assert delete_observation(database, new.id, OWNER).storage_keys == ("a/0",)


def test_a_migration_that_breaks_references_is_rolled_back(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'verger.db'}")
    database.upgrade()
    new = new_observation("a/0")
    add_observation(database, new)
    with pytest.raises(DatabaseError, match="breaks references"), locked_for_upgrade(database.url) as connection:
        connection.execute(METADATA.tables["observations"].delete())
    assert find_observation(database, new.id, OWNER)
    database.close()


def test_processes_may_upgrade_at_the_same_moment(url: str) -> None:
    writers = [Writer(url, number, 0) for number in range(4)]
    start_at_once(writers)
    for writer in writers:
        writer.finish()
    database = open_database(url)
    database.check()
    database.close()
