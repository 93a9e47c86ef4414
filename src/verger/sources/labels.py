"""Labels of photos: from the folder's name, a regular expression, or a CSV table."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable

from verger.errors import SourceError, StorageError
from verger.storage.objects import ObjectPath
from verger.storage.uri import AnyPath, any_path, is_local, to_local

Labeller = Callable[[str], str | None]


def make_labeller(rule: str, src: str) -> Labeller:
    """Return a function that maps a photo's path (a local path without file:) to its label; see Settings.label."""
    kind, _, rest = rule.partition(":")
    if kind == "parent":
        return lambda path: os.path.basename(os.path.dirname(path))
    if kind == "regex":
        pattern = re.compile(rest)
        return lambda path: match.group(1) if (match := pattern.search(path)) else None
    if kind == "csv":
        return _csv_labels(rest, src).get
    return lambda path: None


def _csv_labels(file: str, src: str) -> dict[str, str]:
    """Return labels by path from a CSV; relative paths in it start at the source or at the CSV's folder."""
    labels: dict[str, str] = {}
    table = any_path(file)
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        if not {"path", "label"} <= set(reader.fieldnames or ()):
            raise KeyError("path,label")
        for row in reader:
            for base in (table.parent, any_path(src)):
                labels[_absolute_path(base, row["path"])] = row["label"]
    except (OSError, KeyError, StorageError) as error:
        raise SourceError(
            f"label = 'csv:{file}': expected a CSV with the columns path,label ({error!r})"
        ) from error
    return labels


def _absolute_path(base: AnyPath, path: str) -> str:
    if not is_local(path):
        return str(any_path(path))
    if isinstance(base, ObjectPath):
        return str(base / path)
    return os.path.normpath(base / to_local(path))
