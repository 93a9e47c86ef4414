"""Statements that SQLite and PostgreSQL share, but that SQLAlchemy has only in its dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_missing(
    connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], unique: Sequence[sa.Column[Any]]
) -> bool:
    """Insert a row, unless the table has one with the same values of `unique`; returns whether it was inserted."""
    statement = _insert(connection, table).values(**row).on_conflict_do_nothing(index_elements=list(unique))
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; a row with the same primary key is replaced."""
    if not rows:
        return
    statement = _insert(connection, table)
    keys = list(table.primary_key.columns)
    values = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
