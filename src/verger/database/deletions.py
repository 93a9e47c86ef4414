"""Deletion of observations: by their owner, and after their time. Photos and feedback are deleted with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from verger.database.connection import Database
from verger.database.observation_records import Deletion
from verger.database.photo_files import record_deletions
from verger.database.tables import observations, photos

_ROWS_PER_STATEMENT = 1000  # databases limit the number of parameters of a statement


def delete_observation(database: Database, observation_id: str, owner_sha256: str) -> Deletion:
    """Delete an observation of an owner; `n_observations` is 0 if the owner has no such observation."""
    is_mine = sa.and_(observations.c.owner_sha256 == owner_sha256, observations.c.id == observation_id)
    return _delete(database, sa.select(observations.c.id).where(is_mine).with_for_update())


def delete_all(database: Database, owner_sha256: str) -> Deletion:
    """Delete all observations of an owner: nothing about the owner remains in the database."""
    is_mine = observations.c.owner_sha256 == owner_sha256
    # In one order, so that two processes that delete the same rows cannot wait for each other.
    return _delete(
        database, sa.select(observations.c.id).where(is_mine).order_by(observations.c.id).with_for_update()
    )


def delete_expired(
    database: Database, now: datetime, limit: int, created_before: datetime | None = None
) -> Deletion:
    """Delete up to `limit` observations that expire at `now` or earlier; repeat until `n_observations` is 0.

    created_before: also delete what was added before this time. The files are due for deletion at `now`.
    """
    is_expired = observations.c.expires_at <= now
    if created_before is not None:
        is_expired = sa.or_(is_expired, observations.c.created_at <= created_before)
    oldest = sa.select(observations.c.id).where(is_expired).order_by(observations.c.expires_at).limit(limit)
    return _delete(database, oldest.with_for_update(skip_locked=True), now)


def _delete(database: Database, selected: sa.Select[Any], due_at: datetime | None = None) -> Deletion:
    """Delete the selected observations and record their files for deletion, in one transaction."""
    keys: list[str] = []
    with database.writing() as connection:
        ids = connection.scalars(selected).all()
        for start in range(0, len(ids), _ROWS_PER_STATEMENT):
            keys += _delete_rows(connection, ids[start : start + _ROWS_PER_STATEMENT])
        record_deletions(connection, keys, due_at or datetime.now(UTC))
    return Deletion(len(ids), tuple(keys))


def _delete_rows(connection: sa.Connection, ids: Sequence[str]) -> Sequence[str]:
    """Delete observations; return the storage keys of their photos."""
    of_photos = sa.select(photos.c.storage_key).where(photos.c.observation_id.in_(ids))
    keys = connection.scalars(of_photos.order_by(photos.c.storage_key)).all()
    connection.execute(observations.delete().where(observations.c.id.in_(ids)))
    return keys
