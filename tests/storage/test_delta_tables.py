from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from verger.errors import ResultError
from verger.storage.delta_tables import commit_version, read_history
from verger.storage.table_files import parquet_files

SCHEMA = pa.schema([("path", pa.string()), ("features", pa.list_(pa.float32()))])


def write(folder: Path, **parts: list[str]) -> Path:
    """Write part files; each has one row for each path."""
    folder.mkdir(parents=True)
    for name, paths in parts.items():
        rows = pa.table({"path": paths, "features": [[1.0]] * len(paths)}, schema=SCHEMA)
        pq.write_table(rows, folder / f"{name.replace('_', '-')}.parquet")
    return folder


def commit(table: Path, earlier: Path, history_days: int = 30) -> int:
    return commit_version(table, earlier, SCHEMA, "run", {"features": 3}, history_days)


def paths_of(table: Path, version: int | None = None) -> list[str]:
    rows = DeltaTable(str(table), version=version).to_pyarrow_table()
    return sorted(rows["path"].to_pylist())


def test_the_first_version_has_all_files(tmp_path: Path) -> None:
    table = write(tmp_path / "new", a=["1", "2"], b=["3"])
    assert commit(table, tmp_path / "none") == 0
    assert paths_of(table) == ["1", "2", "3"]
    assert DeltaTable(str(table)).count() == 3


def test_files_are_kept_added_and_removed(tmp_path: Path) -> None:
    first = write(tmp_path / "first", a=["1"], b=["2"])
    commit(first, tmp_path / "none")
    second = write(tmp_path / "second", c=["3"])
    (second / "a.parquet").hardlink_to(first / "a.parquet")
    assert commit(second, first) == 1
    assert paths_of(second) == ["1", "3"]
    assert paths_of(second, version=0) == ["1", "2"]
    assert [file.name for file in parquet_files(second)] == ["a.parquet", "c.parquet"]
    actions = [entry["operation"] for entry in DeltaTable(str(second)).history()]
    assert len(actions) == 2


def test_parts_with_common_names_do_not_replace_those_of_earlier_versions(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", part_000000=["1"]), write(tmp_path / "second", part_000000=["2"])
    commit(first, tmp_path / "none")
    commit(second, first)
    assert (paths_of(second), paths_of(second, version=0)) == (["2"], ["1"])


@pytest.mark.parametrize(("history_days", "n_old_files"), [(30, 3), (0, 0)])
def test_old_versions_end_after_the_days_of_history(tmp_path: Path, history_days: int, n_old_files: int) -> None:
    tables = [write(tmp_path / str(i), **{f"x{i}": [str(i)]}) for i in range(4)]
    commit(tables[0], tmp_path / "none")
    for table, earlier in zip(tables[1:3], tables, strict=False):
        commit(table, earlier)
    assert paths_of(tables[2], version=0) == ["0"]
    commit(tables[3], tables[2], history_days)
    assert len(list(tables[3].glob("x*.parquet"))) == 1 + n_old_files
    assert paths_of(tables[3]) == ["3"]
    assert [one.number for one in read_history(tables[3])] == [3, 2, 1, 0]


def test_the_history_names_command_and_counts(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", a=["1"]), write(tmp_path / "second", b=["2"])
    commit(first, tmp_path / "none")
    commit(second, first)
    newest, oldest = read_history(second)
    assert (newest.number, oldest.number, newest.command) == (1, 0, "run")
    assert newest.counts == {"features": 3}
    assert newest.time >= oldest.time


def test_versions_of_other_programs_are_listed_too(tmp_path: Path) -> None:
    table = write(tmp_path / "table", a=["1"])
    commit(table, tmp_path / "none")
    DeltaTable(str(table)).delete("path = '1'")
    assert read_history(table)[0].command == "DELETE"
    assert parquet_files(table) == []


def test_damaged_and_missing_logs_are_named(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", a=["1"])
    with pytest.raises(ResultError, match="no Delta table"):
        read_history(plain)
    (plain / "_delta_log").mkdir()
    (plain / "_delta_log" / f"{0:020}.json").write_text("{")
    with pytest.raises(ResultError, match="cannot be read"):
        parquet_files(plain)
