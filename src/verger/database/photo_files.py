"""Files of photos that have to be deleted, recorded in the same transaction in which their rows disappear.

A service writes a photo in this order, so that no crash leaves a file that no row mentions:

1. `plan_deletions(database, keys, due_at)` with a time at which the upload has certainly ended,
2. write the files,
3. `add_observation`, which cancels the deletions in its transaction.

A service deletes files in this order: `pending_deletions`, delete the files, `finish_deletions`. If it stops in
between, the next one repeats it; a file that is already missing counts as deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from verger.database.connection import Database
from verger.database.rows import upsert
from verger.database.tables import photo_deletions


def plan_deletions(database: Database, keys: Sequence[str], due_at: datetime) -> None:
    """Record that these files are to be deleted at a time, unless an observation with them is added before."""
    with database.writing() as connection:
        record_deletions(connection, keys, due_at)


def pending_deletions(database: Database, limit: int, now: datetime | None = None, *, skip: int = 0) -> list[str]:
    """Return up to `limit` storage keys whose files are to be deleted now, ordered by the time when they were due.

    skip: number of keys to leave out, because their files could not be deleted.
    """
    due = photo_deletions.c.due_at <= (now or datetime.now(UTC))
    order = (photo_deletions.c.due_at, photo_deletions.c.storage_key)
    query = sa.select(photo_deletions.c.storage_key).where(due).order_by(*order).limit(limit).offset(skip)
    with database.reading() as connection:
        return list(connection.scalars(query))


def finish_deletions(database: Database, keys: Sequence[str]) -> None:
    """Record that the files of these storage keys no longer exist."""
    with database.writing() as connection:
        cancel_deletions(connection, keys)


def record_deletions(connection: sa.Connection, keys: Sequence[str], due_at: datetime) -> None:
    """Record deletions in the transaction of the caller."""
    upsert(connection, photo_deletions, [{"storage_key": key, "due_at": due_at} for key in sorted(keys)])


def cancel_deletions(connection: sa.Connection, keys: Sequence[str]) -> None:
    """Remove recorded deletions in the transaction of the caller."""
    if keys:
        statement = photo_deletions.delete().where(photo_deletions.c.storage_key == sa.bindparam("key"))
        connection.execute(statement, [{"key": key} for key in sorted(keys)])
