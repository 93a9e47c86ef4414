"""Observations: add, find, list, and the feedback about them. A user sees only the user's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from verger.database.connection import Database
from verger.database.observation_records import Feedback, NewObservation, Observation, Photo
from verger.database.photo_files import cancel_deletions, record_deletions
from verger.database.rows import insert_missing, upsert
from verger.database.tables import feedback as feedback_table
from verger.database.tables import observations, photos

_PHOTO_COLUMNS = [photos.c[item.name] for item in fields(Photo)]
_FEEDBACK_COLUMNS = [feedback_table.c[item.name] for item in fields(Feedback)]


def add_observation(database: Database, new: NewObservation) -> tuple[Observation, bool]:
    """Store an observation; return it, and whether it is new.

    If the owner has one with the same idempotency key, that one is returned, also if two requests add it at the
    same time. The files of the photos in `new` are then recorded for deletion.
    """
    while True:
        with database.writing() as connection:
            if _insert_new(connection, new):
                return _observations(connection, [new.id])[0], True
            stored = _find(connection, _has_key(new.owner_sha256, new.idempotency_key))
            if stored:
                kept = {photo.storage_key for photo in stored.photos}
                unused = [photo.storage_key for photo in new.photos if photo.storage_key not in kept]
                record_deletions(connection, unused, datetime.now(UTC))
                return stored, False
        # The other observation was deleted between the two statements.


def find_observation(database: Database, observation_id: str, owner_sha256: str) -> Observation | None:
    """Return an observation of an owner, or None."""
    with database.reading() as connection:
        return _find(connection, _owned(owner_sha256, observations.c.id == observation_id))


def find_by_idempotency_key(database: Database, owner_sha256: str, idempotency_key: str) -> Observation | None:
    """Return the observation that an owner has added with this key, or None."""
    with database.reading() as connection:
        return _find(connection, _has_key(owner_sha256, idempotency_key))


def list_observations(
    database: Database, owner_sha256: str, limit: int, offset: int
) -> tuple[list[Observation], int]:
    """Return one page of an owner's observations, newest first, and the number of all."""
    is_owned = observations.c.owner_sha256 == owner_sha256
    newest = (observations.c.created_at.desc(), observations.c.id.desc())
    page = sa.select(observations.c.id).where(is_owned).order_by(*newest).limit(limit).offset(offset)
    with database.reading() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(observations).where(is_owned))
        return _observations(connection, connection.scalars(page).all()), total or 0


def set_feedback(database: Database, observation_id: str, owner_sha256: str, feedback: Feedback) -> Feedback | None:
    """Store the feedback about an observation, replacing earlier feedback; None if the owner has no such one."""
    is_mine = _owned(owner_sha256, observations.c.id == observation_id)
    with database.writing() as connection:
        # FOR SHARE: the observation cannot be deleted before the feedback is stored. SQLite has only one writer.
        if connection.scalar(sa.select(observations.c.id).where(is_mine).with_for_update(read=True)) is None:
            return None
        upsert(connection, feedback_table, [{"observation_id": observation_id, **asdict(feedback)}])
        return _observations(connection, [observation_id])[0].feedback


def _insert_new(connection: sa.Connection, new: NewObservation) -> bool:
    """Insert an observation with its photos, unless its owner has one with this idempotency key."""
    values = {column.name: getattr(new, column.name) for column in observations.columns}
    unique = (observations.c.owner_sha256, observations.c.idempotency_key)
    if not insert_missing(connection, observations, values, unique):
        return False
    rows = [{"observation_id": new.id, **_photo_values(photo)} for photo in new.photos]
    if rows:
        connection.execute(photos.insert(), rows)
        cancel_deletions(connection, [photo.storage_key for photo in new.photos])
    return True


def _photo_values(photo: Photo) -> dict[str, Any]:
    return {item.name: getattr(photo, item.name) for item in fields(photo)}


def _owned(owner_sha256: str, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(observations.c.owner_sha256 == owner_sha256, condition)


def _has_key(owner_sha256: str, idempotency_key: str | None) -> sa.ColumnElement[bool]:
    return _owned(owner_sha256, observations.c.idempotency_key == idempotency_key)


def _find(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Observation | None:
    found = _observations(connection, connection.scalars(sa.select(observations.c.id).where(condition)).all())
    return found[0] if found else None


def _observations(connection: sa.Connection, ids: Sequence[str]) -> list[Observation]:
    """Return the observations with these ids, in their order, with photos and feedback: three queries."""
    if not ids:
        return []
    rows = connection.execute(sa.select(observations).where(observations.c.id.in_(ids))).mappings()
    by_id = {row["id"]: dict(row) for row in rows}
    photos_of = _parts(connection, ids, photos.c.observation_id, _PHOTO_COLUMNS)
    feedback_of = _parts(connection, ids, feedback_table.c.observation_id, _FEEDBACK_COLUMNS)
    return [
        Observation(
            **by_id[id_],
            photos=tuple(sorted((Photo(**row) for row in photos_of[id_]), key=lambda photo: photo.position)),
            feedback=next((Feedback(**row) for row in feedback_of[id_]), None),
        )
        for id_ in ids
        if id_ in by_id
    ]


def _parts(
    connection: sa.Connection, ids: Sequence[str], key: sa.Column[str], columns: list[sa.Column[Any]]
) -> defaultdict[str, list[dict[str, Any]]]:
    """Return observation id -> the values of these columns in the rows of a table that belong to it."""
    parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(sa.select(key.label("_owner"), *columns).where(key.in_(ids))).mappings():
        values = dict(row)
        parts[values.pop("_owner")].append(values)
    return parts
