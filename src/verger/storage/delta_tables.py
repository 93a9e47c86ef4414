"""Delta tables: folders of Parquet files with a log of versions, `_delta_log` (https://delta.io).

The library deltalake reads and writes the log in a local copy, and never reads the files themselves. So a table in
an object store needs no second set of credentials, and the log is committed together with the other files of a
result (see `verger.storage.commit`).
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from verger.errors import ResultError, SetupError
from verger.storage.parquet import open_parquet
from verger.storage.uri import AnyPath, link_file

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

LOG = "_delta_log"
_ABOUT = "verger"  # key of what a version says about the run that wrote it

_AT_A_TIME = 16
_DAY_MS = 24 * 3600 * 1000
# Names that every run gives to its parts; in a Delta table, the files of all versions lie side by side.
_COMMON_NAME = re.compile(r"part-\d+\.parquet")


@dataclass(frozen=True)
class Version:
    """One version of a table. command: of verger, or of another program. counts: as in the manifest of the run."""

    number: int
    time: datetime
    command: str
    counts: dict[str, Any]


def has_delta_log(folder: AnyPath) -> bool:
    """Return whether a folder is a Delta table."""
    return (folder / LOG).is_dir()


def check_installed() -> None:
    """Raise SetupError if deltalake is missing."""
    try:
        import deltalake  # noqa: F401
    except ImportError as error:
        raise SetupError("Delta tables need deltalake: pip install 'verger[delta]'") from error


def commit_version(
    table: AnyPath, earlier: AnyPath, schema: pa.Schema, command: str, counts: dict[str, Any], history_days: int
) -> int:
    """Make the Parquet files of a folder the next version of an earlier table; return the version's number.

    A file that has the name of a file of the earlier version is that file. The files of versions that were replaced
    within the last `history_days` are linked into `table` too, so that these versions can be read.
    """
    with _local_log(earlier) as folder:
        files = _rename_common(table)
        names = {file.name for file in files}
        before = set(_names_at(folder)) if (folder / LOG).is_dir() else set()
        new = [file for file in files if file.name not in before]
        _commit(folder, schema, _adds(new), sorted(before - names), {"command": command, "counts": counts})
        if before:
            since_ms = _now_ms() - history_days * _DAY_MS
            _link(earlier, table, _names_since(folder, since_ms) - names)
        _write_log(folder / LOG, table)
        return _open(folder).version()


def _commit(folder: Path, schema: pa.Schema, adds: list[AddAction], gone: list[str], about: dict[str, Any]) -> None:
    """Add a version to a log, or begin a log. gone: names of files that the new version does not have."""
    from deltalake import CommitProperties, Schema
    from deltalake.transaction import RemoveAction, create_table_with_add_actions

    properties = CommitProperties(custom_metadata={_ABOUT: json.dumps(about)})
    delta_schema = Schema.from_arrow(schema)
    if not (folder / LOG).is_dir():
        create_table_with_add_actions(str(folder), delta_schema, adds, commit_properties=properties)
        return
    removes = [RemoveAction(name, data_change=True, deletion_timestamp=_now_ms()) for name in gone]
    _open(folder).create_write_transaction([*adds, *removes], "append", delta_schema, commit_properties=properties)


def _adds(files: list[AnyPath]) -> list[AddAction]:
    """Return the actions that add files to a version."""
    from deltalake.transaction import AddAction

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        described = list(pool.map(_describe, files))
    return [
        AddAction(name, size, {}, _now_ms(), data_change=True, stats=json.dumps({"numRecords": n_rows}))
        for name, size, n_rows in described
    ]


def active_files(folder: AnyPath) -> list[AnyPath]:
    """Return the files of the newest version of a Delta table, sorted by name; raises ResultError."""
    check_installed()
    with _local_log(folder) as local:
        return [folder / name for name in sorted(_names_at(local))]


def read_history(folder: AnyPath) -> list[Version]:
    """Return the versions of a Delta table, the newest first; raises ResultError."""
    check_installed()
    if not has_delta_log(folder):
        raise ResultError(f"{folder} is no Delta table: only results of --format delta have a history")
    with _local_log(folder) as local:
        return [_version(entry) for entry in _open(local).history()]


def _open(folder: Path, version: int | None = None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(str(folder), version=version)
    except DeltaError as error:
        raise ResultError(f"the log of a Delta table cannot be read: {error}") from error


def _version(entry: dict[str, Any]) -> Version:
    own = json.loads(entry.get(_ABOUT, "{}"))
    return Version(
        int(entry["version"]),
        datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        own.get("command", entry.get("operation", "")),
        own.get("counts", {}),
    )


@contextmanager
def _local_log(table: AnyPath) -> Iterator[Path]:
    """Yield a temporary folder with a copy of a table's log; it is empty if the table has none."""
    with tempfile.TemporaryDirectory(prefix="verger-delta-") as name:
        folder = Path(name)
        if has_delta_log(table):
            (folder / LOG).mkdir()
            files = [file for file in (table / LOG).iterdir() if not file.is_dir()]
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                list(pool.map(lambda file: (folder / LOG / file.name).write_bytes(file.read_bytes()), files))
        yield folder


def _write_log(log: Path, table: AnyPath) -> None:
    """Write the files of a log into a table."""
    target = table / LOG
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(log.iterdir()):
        if file.is_file():
            (target / file.name).write_bytes(file.read_bytes())


def _names_at(folder: Path, version: int | None = None) -> list[str]:
    """Return the names of the files of a version; None: of the newest one."""
    paths = pa.table(_open(folder, version).get_add_actions(flatten=True))["path"].to_pylist()
    return [unquote(path) for path in paths]


def _names_since(folder: Path, since_ms: int) -> set[str]:
    """Return the names of the files of each version that was the newest one at some time after `since_ms`."""
    names: set[str] = set()
    for entry in _open(folder).history():  # the newest first
        names |= set(_names_at(folder, entry["version"]))
        if entry["timestamp"] < since_ms:  # the earlier ones were replaced before that time
            break
    return names


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _rename_common(table: AnyPath) -> list[AnyPath]:
    """Rename the files whose names are used in other versions too; return all files."""
    files: list[AnyPath] = []
    found: list[AnyPath] = list(table.glob("*.parquet"))
    for file in sorted(found, key=str):
        if _COMMON_NAME.fullmatch(file.name):
            target = file.with_name(f"{file.name.removesuffix('.parquet')}-{secrets.token_hex(4)}.parquet")
            link_file(file, target)
            file.unlink()
            files.append(target)
        else:
            files.append(file)
    return files


def _describe(file: AnyPath) -> tuple[str, int, int]:
    """Return a file's name, its size in bytes, and its number of rows."""
    with open_parquet(file) as opened:
        n_rows = opened.metadata.num_rows
    size = file.stat().st_size if isinstance(file, Path) else file.size()
    return file.name, size, n_rows


def _link(earlier: AnyPath, table: AnyPath, names: Iterable[str]) -> None:
    """Link files of an earlier table into `table`; those that are gone are left out."""

    def link(name: str) -> None:
        try:
            link_file(earlier / name, table / name)
        except FileNotFoundError:  # removed by hand, or by VACUUM of another program
            return

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(link, names))
