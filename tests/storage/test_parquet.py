from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.engine.base import is_lasting
from verger.errors import SourceError, StorageError
from verger.storage.parquet import open_parquet
from verger.storage.table_parts import list_parts


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _scrambled(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[8:-40] = b"\xff" * (len(data) - 48)
    file.write_bytes(bytes(data))


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_half, _scrambled, _empty])
def test_a_damaged_file_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    pq.write_table(pa.table({"number": list(range(1000))}), file)
    damage(file)
    message = rf"^{file} is damaged or not a Parquet file of verger: \w"
    with pytest.raises(SourceError, match=message), open_parquet(file) as table:
        table.read()


def test_errors_of_the_system_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_parquet(tmp_path / "absent.parquet"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("out of memory"),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
        OSError("Failed to launch worker thread: Resource temporarily unavailable"),
        TimeoutError("no answer: unexpected end of stream"),
        FileNotFoundError("a column of parts"),
        StorageError("s3://bucket/part.parquet: 503, invalid answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_that_may_pass_stay_as_they_are(error: Exception, tmp_path: Path) -> None:
    """A SourceError would end the run, but another attempt at the task may succeed."""
    file = tmp_path / "part.parquet"
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(type(error)) as raised, open_parquet(file):
        raise error
    assert raised.value is error and not is_lasting(error)


def test_random_damage_is_named(tmp_path: Path) -> None:
    """Arrow has many messages about damage. Damage in a cell can also be read, or be text that is not UTF-8."""
    random, file = Random(1), tmp_path / "part.parquet"
    pq.write_table(pa.table({"path": [f"{i}.jpg" for i in range(500)]}), file, compression="zstd")
    good = file.read_bytes()
    n_named = 0
    for _ in range(300):
        start = random.randrange(4, len(good) - 8)
        file.write_bytes(good[:start] + random.randbytes(8) + good[start + 8 :])
        try:
            with open_parquet(file) as table:
                table.read()
        except SourceError:
            n_named += 1
        except UnicodeDecodeError:
            pass
    assert n_named > 100


def test_a_table_of_another_program_is_named(tmp_path: Path) -> None:
    file = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(SourceError, match=rf"{file} has no column features, label, path"):
        list_parts([file], "features")
