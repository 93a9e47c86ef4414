"""Several processes that write to one database, and processes that are killed while they write."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.support.database_writer import Writer, start_at_once
from tests.support.observations import OWNER, new_observation
from verger.database.connection import Database, open_database
from verger.database.observations import add_observation, find_observation, list_observations
from verger.database.tables import observations, photos


def test_processes_that_write_at_once_lose_nothing(url: str) -> None:
    writers = [Writer(url, number, 25) for number in range(8)]
    start_at_once(writers)
    acknowledged = [id_ for writer in writers for id_ in writer.finish()]
    assert len(acknowledged) == len({*acknowledged}) == 200
    database = open_database(url)
    items, total = list_observations(database, OWNER, 300, 0)
    assert {item.id for item in items} == {*acknowledged} and total == 200
    assert all(len(item.photos) == 2 for item in items)
    database.close()


def test_processes_that_add_the_same_keys_get_the_same_observations(url: str) -> None:
    writers = [Writer(url, 0, 20) for _ in range(4)]
    start_at_once(writers)
    first, *others = [writer.finish() for writer in writers]
    assert len({*first}) == 20 and all(other == first for other in others)


@pytest.mark.parametrize("n_acknowledged", [1, 7, 30])
def test_a_killed_writer_loses_no_acknowledged_observation(
    n_acknowledged: int, database: Database, url: str
) -> None:
    writers = [Writer(url, number, 1_000_000) for number in range(2)]
    start_at_once(writers)
    killed, other = writers
    acknowledged = [killed.read() for _ in range(n_acknowledged)] + killed.kill()
    acknowledged += [other.read() for _ in range(5)] + other.kill()  # the other one continues
    missing = [id_ for id_ in acknowledged if find_observation(database, id_, OWNER) is None]
    assert len(acknowledged) >= n_acknowledged + 5 and not missing
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(photos)) == 2 * _count(connection)
    add_observation(database, new_observation("after/0"))  # nothing stays locked


def _count(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(observations)) or 0
