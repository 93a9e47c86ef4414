from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.observations import NOW, OTHER, OWNER, new_observation
from tests.support.postgres import Server
from verger.database.connection import Database, open_database
from verger.database.deletions import delete_all, delete_expired, delete_observation
from verger.database.observation_records import Deletion, Feedback
from verger.database.observations import add_observation, find_observation, list_observations, set_feedback
from verger.database.photo_files import finish_deletions, pending_deletions
from verger.database.tables import METADATA

COMMENT = "a comment that nothing else contains"


def add(database: Database, *keys: str, owner: str = OWNER, **values: object) -> str:
    """Add an observation with feedback; return its id."""
    new = new_observation(*keys, owner=owner, **values)
    add_observation(database, new)
    set_feedback(database, new.id, owner, Feedback(False, "pear", COMMENT, NOW))
    return new.id


def contents(database: Database) -> dict[str, list[str]]:
    """Return table -> its rows as text, for tables that are not empty."""
    with database.reading() as connection:
        rows = {name: connection.execute(sa.select(table)).all() for name, table in METADATA.tables.items()}
    return {name: [str(row) for row in found] for name, found in rows.items() if found}


def test_photos_and_feedback_go_with_their_observation(database: Database) -> None:
    first, kept = add(database, "a/0", "a/1"), add(database, "b/0")
    assert delete_observation(database, first, OWNER) == Deletion(1, ("a/0", "a/1"))
    assert find_observation(database, first, OWNER) is None
    assert pending_deletions(database, 10) == ["a/0", "a/1"]
    left = contents(database)
    assert {name: len(rows) for name, rows in left.items()} == {
        "observations": 1,
        "photos": 1,
        "feedback": 1,
        "photo_deletions": 2,
    }
    found = find_observation(database, kept, OWNER)
    assert found and found.feedback and found.photos[0].storage_key == "b/0"


def test_an_observation_of_another_owner_is_not_deleted(database: Database) -> None:
    added = add(database, "a/0")
    assert delete_observation(database, added, OTHER) == Deletion(0, ())
    assert delete_observation(database, "missing", OWNER) == Deletion(0, ())
    assert delete_all(database, OTHER) == Deletion(0, ())
    assert find_observation(database, added, OWNER) and pending_deletions(database, 10) == []


def test_no_table_keeps_a_row_of_a_forgotten_owner(database: Database) -> None:
    ids = [add(database, f"{number}/0", f"{number}/1", idempotency_key=f"key-{number}") for number in range(3)]
    other = add(database, "other/0", owner=OTHER)
    deletion = delete_all(database, OWNER)
    assert deletion.n_observations == 3
    assert sorted(deletion.storage_keys) == [f"{number}/{position}" for number in range(3) for position in (0, 1)]
    assert sorted(pending_deletions(database, 10)) == sorted(deletion.storage_keys)
    finish_deletions(database, deletion.storage_keys)
    text = str(contents(database))
    for trace in (OWNER, "key-", *ids, *deletion.storage_keys):
        assert trace not in text
    assert [item.id for item in list_observations(database, OTHER, 10, 0)[0]] == [other]
    assert list_observations(database, OWNER, 10, 0) == ([], 0)
    delete_all(database, OTHER)
    finish_deletions(database, ["other/0"])
    assert contents(database) == {}


def test_an_sqlite_file_does_not_contain_what_was_deleted(tmp_path: Path) -> None:
    file = tmp_path / "verger.db"
    database = open_database(f"sqlite:///{file}")
    database.upgrade()
    add(database, "a/0")
    database.close()
    assert COMMENT.encode() in file.read_bytes() and OWNER.encode() in file.read_bytes()
    finish_deletions(database, delete_all(database, OWNER).storage_keys)
    database.close()
    assert COMMENT.encode() not in file.read_bytes() and OWNER.encode() not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["verger.db"]


def test_expired_observations_are_deleted_oldest_first(database: Database) -> None:
    for hour in (2, 1, 3):
        add(database, f"{hour}/0", expires_at=NOW + timedelta(hours=hour))
    now = NOW + timedelta(hours=2)
    assert delete_expired(database, NOW, 10) == Deletion(0, ())
    assert delete_expired(database, now, 1) == Deletion(1, ("1/0",))
    assert pending_deletions(database, 10, now) == ["1/0"]
    assert delete_expired(database, now, 1) == Deletion(1, ("2/0",))
    assert delete_expired(database, now, 1) == Deletion(0, ())
    assert [item.photos[0].storage_key for item in list_observations(database, OWNER, 10, 0)[0]] == ["3/0"]


def test_deletions_stay_pending_until_they_are_finished(database: Database) -> None:
    add(database, *[f"a/{number}" for number in range(5)])
    delete_all(database, OWNER)
    first = pending_deletions(database, 3)
    assert len(first) == 3 and pending_deletions(database, 3) == first
    finish_deletions(database, first)
    assert len(pending_deletions(database, 10)) == 2 and not {*pending_deletions(database, 10)} & {*first}
    finish_deletions(database, [])
    finish_deletions(database, [*first, *pending_deletions(database, 10)])
    assert pending_deletions(database, 10) == []


def test_thousands_of_observations_are_deleted_at_once(database: Database) -> None:
    table, photos = METADATA.tables["observations"], METADATA.tables["photos"]
    columns = ("id", "owner_sha256", "created_at", "expires_at", "answer", "model", "classifier")
    rows = [dict(zip(columns, (str(i), OWNER, NOW, NOW, {}, "m", "c"), strict=True)) for i in range(2500)]
    sizes = {"position": 0, "sha256": "s", "width": 1, "height": 1, "content_type": "image/png", "n_bytes": 1}
    with database.writing() as connection:
        connection.execute(table.insert(), rows)
        connection.execute(
            photos.insert(), [{"observation_id": str(i), "storage_key": str(i)} | sizes for i in range(2500)]
        )
    deletion = delete_all(database, OWNER)
    assert deletion.n_observations == 2500 and len({*deletion.storage_keys}) == 2500
    assert [*contents(database)] == ["photo_deletions"]


def test_deletions_and_additions_at_once_lose_no_file(database: Database) -> None:
    """Each file that was added is afterwards either a photo or a pending deletion."""
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for step in range(10):
            add_observation(database, new_observation(f"{number}/{step}", idempotency_key=str(step)))
            delete_all(database, OWNER)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    items, total = list_observations(database, OWNER, 100, 0)
    kept = [photo.storage_key for item in items for photo in item.photos]
    keys = sorted([*pending_deletions(database, 100), *kept])
    assert keys == sorted(f"{number}/{step}" for number in range(4) for step in range(10))
    assert total == len(items)


@pytest.mark.parametrize(
    ("use", "result"),
    [
        (lambda database, id_: delete_observation(database, id_, OWNER), Deletion(0, ())),
        (lambda database, _: delete_all(database, OWNER), Deletion(0, ())),
        (lambda database, id_: set_feedback(database, id_, OWNER, Feedback(True, None, None, NOW)), None),
    ],
    ids=["delete", "delete-all", "feedback"],
)
def test_while_an_observation_is_deleted_others_wait_and_find_nothing(
    use: Callable[[Database, str], object], result: object, postgres: Server
) -> None:
    with postgres.new_database() as url, closing(open_database(url)) as database, ThreadPoolExecutor(1) as threads:
        database.upgrade()
        id_ = add(database, "a/0")
        with database.writing() as connection:
            connection.execute(METADATA.tables["observations"].delete())
            used = threads.submit(use, database, id_)
            while not is_waiting(database):
                assert not used.done()
        assert used.result() == result


def is_waiting(database: Database) -> bool:
    """Return whether a connection waits for a lock of another one."""
    with database.reading() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(connection.exec_driver_sql(query).scalar_one())


def test_expired_observations_that_another_process_deletes_are_left_to_it(postgres: Server) -> None:
    with postgres.new_database() as url, closing(open_database(url)) as database:
        database.upgrade()
        for key in ("a/0", "b/0"):
            add(database, key, expires_at=NOW)
        table = METADATA.tables["observations"]
        with database.writing() as connection:
            oldest = connection.scalar(sa.select(table.c.id).limit(1).with_for_update())
            assert delete_expired(database, NOW, 10).n_observations == 1
        assert [item.id for item in list_observations(database, OWNER, 10, 0)[0]] == [oldest]


def test_the_rows_of_an_observation_need_it(database: Database) -> None:
    row = {"observation_id": "missing", "is_right": True, "created_at": NOW}
    with pytest.raises(sa.exc.IntegrityError), database.writing() as connection:
        connection.execute(METADATA.tables["feedback"].insert(), row)
