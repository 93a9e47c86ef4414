"""Find the features that earlier runs have computed: features in the result at OUT, and of unfinished runs.

A photo is identified by its path, modification time and length. If one of these differs, the workers read the photo
and compare the sha256 of its content. The identifiers are 64-bit hashes in numpy arrays: per photo with features
about 70 bytes in the driver, and 16 bytes in each worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.errors import SourceError
from verger.pipeline.context import FEATURES, LISTING
from verger.pipeline.fingerprint import fingerprint_of_result
from verger.storage.hashing import hash_text
from verger.storage.manifest import find_manifest
from verger.storage.parquet import open_parquet
from verger.storage.table_files import parquet_files
from verger.storage.uri import AnyPath
from verger.tasks.earlier_features import (
    NO_ROW,
    ROW_BITS,
    EarlierFeatures,
    KeyIndex,
    Keys,
    RowIds,
    content_key,
    make_row_id,
)

LISTING_COLUMNS = ["path", "modificationTime", "length", "label"]


@dataclass(frozen=True)
class PhotoKeys:
    """Hashes of listed photos, one array element per photo.

    path: hash of the path. file: hash of path, modification time and length. row: hash of these and of the label.
    """

    path: Keys
    file: Keys
    row: Keys

    @classmethod
    def of(cls, rows: pa.RecordBatch | pa.Table) -> PhotoKeys:
        """Return the keys of rows of a listing."""
        paths, lengths, labels = (rows[name].to_pylist() for name in ("path", "length", "label"))
        times_us = rows["modificationTime"].cast(pa.int64()).to_pylist()
        file = hash_texts(
            f"{path}\n{us}\n{length}" for path, us, length in zip(paths, times_us, lengths, strict=True)
        )
        # Many photos share a label, so each different label is hashed only once.
        key_of = {label: hash_texts([repr(label)])[0] for label in set(labels)}
        return cls(hash_texts(paths), file, file ^ np.array([key_of[label] for label in labels], np.uint64))

    @classmethod
    def read(cls, files: Sequence[AnyPath]) -> PhotoKeys:
        """Return the keys of all rows of listing files."""
        parts = [cls.of(rows) for _, rows in read_rows(files, LISTING_COLUMNS)] or [
            cls(*[np.empty(0, np.uint64)] * 3)
        ]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("path", "file", "row")))


@dataclass(frozen=True)
class EarlierResults:
    """Features of earlier runs, found by the keys of photos.

    features: the tables from which the workers read.
    by_file, by_row: indexes of the row ids of features; the keys are PhotoKeys.file and PhotoKeys.row.
    n_rows: number of rows of each table. n_current_tables: the first tables, up to this number, are in the result
    at OUT.
    listing: the folder with the listing of the result at OUT.
    """

    features: EarlierFeatures
    by_file: KeyIndex
    by_row: KeyIndex
    n_rows: npt.NDArray[np.int64]
    n_current_tables: int
    listing: AnyPath

    @property
    def n_current(self) -> int:
        """Number of features of the result at OUT."""
        return int(self.n_rows[: self.n_current_tables].sum())

    def is_current(self, row_ids: RowIds) -> npt.NDArray[np.bool_]:
        """Return for each row id whether the row is in the result at OUT."""
        is_found: npt.NDArray[np.bool_] = row_ids != NO_ROW
        return is_found & (row_ids >> ROW_BITS < self.n_current_tables)


@dataclass
class _IndexBuilder:
    """Entries of a KeyIndex, collected batch by batch."""

    keys: list[Keys] = field(default_factory=lambda: [np.empty(0, np.uint64)])
    row_ids: list[RowIds] = field(default_factory=lambda: [np.empty(0, np.int64)])

    def add(self, keys: Keys, row_ids: RowIds) -> None:
        self.keys.append(keys)
        self.row_ids.append(row_ids)

    def build(self) -> KeyIndex:
        return KeyIndex.build(np.concatenate(self.keys), np.concatenate(self.row_ids))


def find_earlier_results(out: AnyPath, unfinished_runs: Sequence[AnyPath], key: str, mark: str) -> EarlierResults:
    """Return the features with the fingerprint `key`, in the result at `out` and of unfinished runs.

    mark: the first characters of the fingerprint; the names of the parts of unfinished runs contain them.
    """
    current = parquet_files(out / FEATURES) if _has_fingerprint(out, key) else []
    sources = [(out, current)]
    for run in unfinished_runs:
        sources.append((run, [file for file in parquet_files(run / FEATURES) if mark in file.name]))
    by_file, by_row, by_content = _IndexBuilder(), _IndexBuilder(), _IndexBuilder()
    tables: list[AnyPath] = []
    for folder, files in sources:
        listed = PhotoKeys.read(parquet_files(folder / LISTING) if files else [])
        position_of = KeyIndex.build(listed.path, np.arange(len(listed.path)))
        for row_ids, rows in read_rows(files, ["path", "sha256"], n_before=len(tables)):
            positions = position_of.find(hash_texts(rows["path"].to_pylist()))
            is_listed = positions != NO_ROW
            by_file.add(listed.file[positions[is_listed]], row_ids[is_listed])
            by_row.add(listed.row[positions[is_listed]], row_ids[is_listed])
            by_content.add(
                np.array([content_key(sha256) for sha256 in rows["sha256"].to_pylist()], np.uint64), row_ids
            )
        tables += files
    n_rows = np.bincount(np.concatenate(by_content.row_ids) >> ROW_BITS, minlength=len(tables))
    features = EarlierFeatures(tuple(map(str, tables)), by_content.build())
    return EarlierResults(features, by_file.build(), by_row.build(), n_rows, len(current), out / LISTING)


def _has_fingerprint(out: AnyPath, key: str) -> bool:
    manifest = find_manifest(out) if (out / FEATURES).is_dir() else None
    return manifest is not None and fingerprint_of_result(manifest) == key


def read_rows(
    tables: Sequence[AnyPath], columns: list[str], *, n_before: int = 0
) -> Iterator[tuple[RowIds, pa.RecordBatch]]:
    """Yield (row ids, rows) for each batch of the tables; the tables are numbered from `n_before`."""
    for number, table in enumerate(tables, n_before):
        row = 0
        with open_parquet(table) as file:
            if missing := sorted(set(columns) - set(file.schema_arrow.names)):
                raise SourceError(f"{table} has no column {', '.join(missing)}: expected a table of verger")
            for batch in file.iter_batches(columns=columns):
                yield make_row_id(number, row) + np.arange(batch.num_rows), batch
                row += batch.num_rows


def hash_texts(texts: Iterable[str]) -> Keys:
    """Return 64-bit hashes of texts."""
    return np.frombuffer(b"".join(map(hash_text, texts)), np.uint64)
