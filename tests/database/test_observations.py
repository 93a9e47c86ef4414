from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import sqlalchemy as sa

from tests.support.observations import NOW, OTHER, OWNER, new_observation
from verger.database.connection import Database
from verger.database.observation_records import Feedback
from verger.database.observations import add_observation, find_observation, list_observations, set_feedback
from verger.database.photo_files import pending_deletions, plan_deletions
from verger.database.tables import METADATA, photos


def count(database: Database, table: str) -> int | None:
    with database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables[table]))


def test_an_observation_is_found_as_it_was_added(database: Database) -> None:
    answer = {
        "decision": "sure",
        "candidates": [{"name": "Pêche \x00 \u2028 🍑", "probability": 0.1 + 0.2}],
        "n": None,
    }
    new = new_observation("a/0", "a/1", answer=answer, idempotency_key="k")
    added, is_new = add_observation(database, new)
    assert is_new and added == find_observation(database, new.id, OWNER)
    assert added.answer == answer and added.created_at == NOW and added.expires_at == NOW + timedelta(days=30)
    assert [(photo.position, photo.storage_key, photo.n_bytes) for photo in added.photos] == [
        (0, "a/0", 123_456),
        (1, "a/1", 123_456),
    ]
    assert added.feedback is None
    assert find_observation(database, new.id, OTHER) is None


def test_vectors_are_stored_as_little_endian_float32(database: Database) -> None:
    add_observation(database, new_observation("a/0"))
    with database.reading() as connection:
        (vector,) = connection.scalars(sa.select(photos.c.vector))
        stored = connection.exec_driver_sql("SELECT vector FROM photos").scalar_one()
    expected = np.array([0, 0.1, -1e30], np.float32)
    assert vector is not None and vector.dtype == np.float32 and np.array_equal(vector, expected)
    assert bytes(stored) == expected.astype("<f4").tobytes()


def test_times_come_back_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    added, _ = add_observation(database, new_observation(created_at=moment))
    assert added.created_at == moment and added.created_at.tzinfo is UTC
    assert added.created_at.isoformat() == "2026-02-28T22:30:00+00:00"


def test_the_same_idempotency_key_of_an_owner_returns_the_stored_observation(database: Database) -> None:
    first, _ = add_observation(database, new_observation("a/0", idempotency_key="k"))
    again, is_new = add_observation(database, new_observation("b/0", idempotency_key="k", answer={}))
    assert (again, is_new) == (first, False)
    other, is_new = add_observation(database, new_observation("c/0", owner=OTHER, idempotency_key="k"))
    assert is_new and other.id != first.id
    assert pending_deletions(database, 10) == ["b/0"], "the file of the repeated upload is deleted"


def test_a_repeated_upload_to_the_same_storage_key_keeps_the_file(database: Database) -> None:
    add_observation(database, new_observation("a/0", idempotency_key="k"))
    add_observation(database, new_observation("a/0", idempotency_key="k"))
    assert pending_deletions(database, 10) == []


def test_observations_without_a_key_are_all_kept(database: Database) -> None:
    assert add_observation(database, new_observation())[1] and add_observation(database, new_observation())[1]
    assert count(database, "observations") == 2


def test_threads_that_add_the_same_key_at_once_get_one_observation(database: Database) -> None:
    barrier = threading.Barrier(4)

    def add(number: int) -> tuple[str, bool]:
        barrier.wait()
        stored, is_new = add_observation(database, new_observation(f"{number}/0", idempotency_key="k"))
        return stored.photos[0].storage_key, is_new

    for _ in range(5):
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(add, range(4)))
        (key,) = {key for key, _ in results}
        assert sum(is_new for _, is_new in results) == 1
        assert sorted([*pending_deletions(database, 10), key]) == ["0/0", "1/0", "2/0", "3/0"]
        with database.writing() as connection:
            for table in METADATA.sorted_tables[::-1]:
                connection.execute(table.delete())


def test_a_failed_addition_leaves_nothing(database: Database) -> None:
    add_observation(database, new_observation("a/0"))
    plan_deletions(database, ["b/0"], NOW)
    with pytest.raises(sa.exc.IntegrityError):
        add_observation(database, new_observation("b/0", "a/0"))
    assert count(database, "observations") == 1 and count(database, "photos") == 1
    assert pending_deletions(database, 10) == ["b/0"]


def test_an_observation_cancels_the_deletion_of_its_uploads(database: Database) -> None:
    plan_deletions(database, ["a/0", "a/1", "lost"], NOW + timedelta(hours=1))
    add_observation(database, new_observation("a/0", "a/1"))
    assert pending_deletions(database, 10, NOW) == []
    assert pending_deletions(database, 10, NOW + timedelta(hours=1)) == ["lost"]


def test_pages_are_newest_first_and_only_the_owners(database: Database) -> None:
    added = []
    for hour in [3, 1, 5, 4, 2]:
        added.append(new_observation(f"{hour}/0", created_at=NOW + timedelta(hours=hour)))
        add_observation(database, added[-1])
    add_observation(database, new_observation("other/0", owner=OTHER))
    newest_first = [item.id for item in sorted(added, key=lambda item: item.created_at, reverse=True)]
    pages = [list_observations(database, OWNER, 2, offset) for offset in (0, 2, 4, 6)]
    assert [total for _, total in pages] == [5, 5, 5, 5]
    assert [[item.id for item in items] for items, _ in pages] == [
        newest_first[:2],
        newest_first[2:4],
        newest_first[4:],
        [],
    ]
    assert [photo.storage_key for item in pages[0][0] for photo in item.photos] == ["5/0", "4/0"]


def test_pages_of_the_same_moment_neither_repeat_nor_omit(database: Database) -> None:
    ids = {add_observation(database, new_observation())[0].id for _ in range(7)}
    listed = [item.id for offset in range(7) for item in list_observations(database, OWNER, 1, offset)[0]]
    assert len(listed) == 7 and set(listed) == ids


def test_later_feedback_replaces_the_earlier(database: Database) -> None:
    new = new_observation("a/0")
    add_observation(database, new)
    wrong = Feedback(False, "pear", "C'est une poire 🍐", NOW)
    right = Feedback(True, None, None, NOW + timedelta(seconds=1))
    for feedback in (wrong, right):
        assert set_feedback(database, new.id, OWNER, feedback) == feedback
        found = find_observation(database, new.id, OWNER)
        assert found and found.feedback == feedback
        assert list_observations(database, OWNER, 1, 0)[0] == [found]
    assert count(database, "feedback") == 1


def test_feedback_about_an_observation_of_another_owner_is_refused(database: Database) -> None:
    new = new_observation("a/0")
    add_observation(database, new)
    feedback = Feedback(True, None, None, NOW)
    assert set_feedback(database, new.id, OTHER, feedback) is None
    assert set_feedback(database, "missing", OWNER, feedback) is None
    assert count(database, "feedback") == 0


def test_an_id_that_is_used_twice_is_an_error(database: Database) -> None:
    new = new_observation()
    add_observation(database, new)
    with pytest.raises(sa.exc.IntegrityError):
        add_observation(database, replace(new, owner_sha256=OTHER))
