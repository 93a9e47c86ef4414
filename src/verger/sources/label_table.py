"""Read a CSV table of labels, as programs and spreadsheets write it, and match its rows with photos."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from verger.errors import SourceError, StorageError
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath, any_path, is_local, normal_path, to_local

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

_PATH, _LABEL = "path", "label"
_DELIMITERS = ",;\t|"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# An optional first line for Excel, which names the delimiter.
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table.

    line: its number in the file. written: the path as it stands in the file. paths: the absolute path, one for each
    folder to which `written` may be relative.
    """

    line: int
    written: str
    label: str
    paths: tuple[str, ...]


class LabelTable:
    """Labels by path. A path in the table is absolute, a URI, or relative to the source or to the table's folder.

    A photo has the label of the row with exactly its path. If no photo has exactly the path of a row, the paths are
    compared again without regard to separators (backslashes and slashes), blanks at the ends of names, and Unicode
    normal form. If then exactly one photo without a row of its own has this path, the row labels it; if there are
    several, the row labels none of them.

    Call `record` with the paths of all photos before `find`. Raises SourceError if the table cannot be read, or if
    rows give one path different labels.
    """

    def __init__(self, file: str, src: str) -> None:
        table = any_path(file)
        self._folders = (table.parent, any_path(src))
        self._rows: list[_Row] = []
        self._by_path: dict[str, _Row] = {}
        try:
            text, self.is_windows_encoded = _decode(table.read_bytes())
            for row in _read_rows(text, self._folders):
                self._add(row)
        except (OSError, ValueError, StorageError) as error:
            raise SourceError(f"label = 'csv:{file}': {getattr(error, 'strerror', None) or error}") from error
        self._matched: set[int] = set()  # lines of rows with exactly the path of a photo
        self._n_by_key: Counter[str] = Counter()  # number of photos without such a row, by key

    def _add(self, row: _Row) -> None:
        """Add a row, unless it repeats an earlier one.

        Raises ValueError if an earlier row gives the same path another label.
        """
        if not _has_label(row):
            self._rows.append(row)
            return
        earlier = [self._by_path.setdefault(path, row) for path in row.paths]
        for other in earlier:
            if other.label != row.label:
                raise ValueError(
                    f"lines {other.line} and {row.line} give {row.written!r} different labels, {other.label!r} and "
                    f"{row.label!r}"
                )
        if row in earlier:
            self._rows.append(row)

    @cached_property
    def _by_key(self) -> dict[str, _Row | None]:
        """The row with each key; None if rows with this key have different labels."""
        rows: dict[str, _Row | None] = {}
        for row in filter(_has_label, self._rows):
            written = row.written.strip().replace("\\", "/")
            for key in {_key(_absolute_path(folder, written)) for folder in self._folders}:
                other = rows.setdefault(key, row)
                rows[key] = row if other is not None and other.label == row.label else None
        return rows

    def record(self, path: str) -> None:
        """Record the path of a photo. The rows of the table are matched with the recorded paths."""
        row = self._by_path.get(path)
        if row is not None:
            self._matched.add(row.line)
        elif (key := _key(path)) in self._by_key:
            self._n_by_key[key] += 1

    def find(self, path: str) -> str | None:
        """Return the label of a photo; None if no row clearly belongs to this photo."""
        row = self._by_path.get(path) or self._similar_row(path)
        return row.label if row else None

    def _similar_row(self, path: str) -> _Row | None:
        key = _key(path)
        row = self._by_key.get(key)
        return row if row and row.line not in self._matched and self._n_by_key[key] == 1 else None

    def unmatched(self) -> list[str]:
        """Return the rows that label no photo, as text."""
        matched = self._matched.copy()
        for key, n_photos in self._n_by_key.items():
            if n_photos == 1 and (row := self._by_key[key]):
                matched.add(row.line)
        return [
            f"line {row.line}, {row.written!r}{'' if _has_label(row) else ' without a label'}"
            for row in self._rows
            if row.line not in matched
        ]


def _has_label(row: _Row) -> bool:
    return bool(row.label and row.written)


def _read_rows(text: str, folders: tuple[AnyPath, ...]) -> Iterator[_Row]:
    """Yield the rows; raises ValueError if the text is not a CSV with the columns path and label."""
    line = 1
    try:
        names, reader = _open(text)
        path_at, label_at = names.index(_PATH), names.index(_LABEL)
        for cells in reader:
            line = reader.line_num
            if not any(map(str.strip, cells)):
                continue
            written, label = (cells[at] if at < len(cells) else "" for at in (path_at, label_at))
            paths = dict.fromkeys(_absolute_path(folder, written) for folder in folders)
            yield _Row(line, written, label.strip(), tuple(paths))
    except csv.Error as error:
        raise ValueError(
            f"not a valid CSV after line {line}, for example because a quote is not closed ({error})"
        ) from error


def _decode(data: bytes) -> tuple[str, bool]:
    """Return the text of a table, and whether it was read as Windows-1252, the encoding of Excel in western Europe.

    The encoding is UTF-8, or UTF-16 with a byte order mark. Raises ValueError if only parts of the text are UTF-8.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16"), False
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", errors="surrogateescape")
        if any(character > "\x7f" and not "\udc80" <= character <= "\udcff" for character in text):
            line = data.count(b"\n", 0, error.start) + 1
            raise ValueError(f"line {line} is not UTF-8, but other lines are: save the table as UTF-8") from None
    try:
        return data.decode("cp1252"), True
    except UnicodeDecodeError as error:
        raise ValueError("the table is neither UTF-8 nor Windows-1252: save it as UTF-8") from error


def _open(text: str) -> tuple[list[str], CsvReader]:
    """Return the names of the columns, and a reader of the rows below them; raises ValueError and csv.Error."""
    separator = _SEPARATOR_LINE.match(text)
    text = text[separator.end() :] if separator else text
    names: list[str] = []
    for delimiter in separator[1] if separator else _DELIMITERS:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        names = [name.strip().lower() for name in header]
        if {_PATH, _LABEL} <= set(names):
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            next(reader)
            return names, reader
    raise ValueError(f"expected a CSV with the columns path,label, found {','.join(names) or 'an empty file'!r}")


def _absolute_path(folder: AnyPath, path: str) -> str:
    if not is_local(path):
        return str(any_path(path))
    if isinstance(folder, ObjectPath):
        return str(folder / path)
    return normal_path(os.path.join(folder, to_local(path)))


def _key(path: str) -> str:
    """Return the path in the Unicode form NFC, with slashes as separators, without blanks at both ends of names."""
    names = unicodedata.normalize("NFC", path).replace("\\", "/").split("/")
    return "/".join(name.strip() for name in names)
