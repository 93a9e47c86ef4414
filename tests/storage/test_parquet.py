from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.errors import SourceError
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


def test_a_table_of_another_program_is_named(tmp_path: Path) -> None:
    file = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(SourceError, match=rf"{file} has no column features, label, path"):
        list_parts([file], "features")
