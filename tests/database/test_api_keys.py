from __future__ import annotations

import re
from datetime import UTC, date, datetime
from hashlib import sha256

import sqlalchemy as sa

from verger.database.api_keys import create_key, find_key, list_keys, revoke_key
from verger.database.connection import Database
from verger.database.tables import api_keys


def test_a_key_is_found_and_only_its_hash_is_stored(database: Database) -> None:
    key = create_key(database, "Éric's robot")
    assert re.fullmatch(r"verger_[\w-]{32}", key)
    found = find_key(database, key)
    assert found and found.name == "Éric's robot"
    with database.reading() as connection:
        (row,) = connection.execute(sa.select(api_keys)).all()
    assert row.key_sha256 == sha256(key.encode()).hexdigest()
    assert not any(key[7:] in str(value) for value in row)


def test_keys_that_do_not_exist_are_not_found(database: Database) -> None:
    key = create_key(database, "robot")
    for wrong in ("", key[:-1], key.upper(), f"{key}\0", "verger_é", "\ud800", create_key(database, "x") + "x"):
        assert find_key(database, wrong) is None


def test_a_revoked_key_is_not_found(database: Database) -> None:
    key, kept = create_key(database, "first"), create_key(database, "second")
    first, second = list_keys(database)
    assert (first.name, second.name) == ("first", "second")
    assert revoke_key(database, first.id)
    assert find_key(database, key) is None and find_key(database, kept)
    assert not revoke_key(database, first.id), "it is revoked already"
    assert not revoke_key(database, "missing")
    revoked, valid = list_keys(database)
    assert revoked.revoked_at and not valid.revoked_at


def test_the_day_of_the_last_use_is_recorded(database: Database) -> None:
    key = create_key(database, "robot")
    assert list_keys(database)[0].last_used_day is None
    for day in (1, 2, 2):
        find_key(database, key, datetime(2026, 12, day, 23, 59, tzinfo=UTC))
        assert list_keys(database)[0].last_used_day == date(2026, 12, day)
