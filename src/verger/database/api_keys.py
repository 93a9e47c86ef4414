"""API keys for callers other than the app. Only the hash of a key is stored; the key itself is shown once."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256

import sqlalchemy as sa

from verger.database.connection import Database
from verger.database.tables import api_keys

_PREFIX = "verger_"  # so that scanners of secrets recognise a leaked key
_RANDOM_BYTES = 24  # 32 characters


@dataclass(frozen=True)
class ApiKey:
    """What is known about a key. last_used_day: in UTC."""

    id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_day: date | None


_COLUMNS = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
    api_keys.c.last_used_day,
)


def create_key(database: Database, name: str) -> str:
    """Create a key and return it; it cannot be read again."""
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = {"id": str(uuid.uuid4()), "name": name, "key_sha256": _hash(key), "created_at": datetime.now(UTC)}
    with database.writing() as connection:
        connection.execute(api_keys.insert(), row)
    return key


def find_key(database: Database, key: str, now: datetime | None = None) -> ApiKey | None:
    """Return the key, unless it is unknown or revoked, and record the day of its use.

    The database compares hashes, so the time it takes reveals nothing about the characters of a valid key.
    """
    today = (now or datetime.now(UTC)).date()
    is_valid = sa.and_(api_keys.c.key_sha256 == _hash(key), api_keys.c.revoked_at.is_(None))
    with database.reading() as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(is_valid)).mappings().first()
    if row is None:
        return None
    if row["last_used_day"] != today:
        with database.writing() as connection:
            connection.execute(api_keys.update().where(is_valid).values(last_used_day=today))
    return ApiKey(**{**row, "last_used_day": today})


def revoke_key(database: Database, key_id: str) -> bool:
    """Revoke a key; returns whether a valid key has this id."""
    is_valid = sa.and_(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    with database.writing() as connection:
        return (
            connection.execute(api_keys.update().where(is_valid).values(revoked_at=datetime.now(UTC))).rowcount == 1
        )


def list_keys(database: Database) -> list[ApiKey]:
    """Return all keys, the oldest first, also those that are revoked."""
    query = sa.select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id)
    with database.reading() as connection:
        return [ApiKey(**row) for row in connection.execute(query).mappings()]


def _hash(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()
