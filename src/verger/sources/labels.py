"""Labels of photos: by folder, by pattern, by table."""

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


def labeller(rule: str, src: str) -> Labeller:
    """Return what tells a photo's label by its path (a local one without file:); see Settings.label."""
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
    """Read path,label rows; a relative path is relative to the source, else to the file's folder."""
    labels: dict[str, str] = {}
    table = any_path(file)
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        if not {"path", "label"} <= set(reader.fieldnames or ()):
            raise KeyError("path,label")
        for row in reader:
            for base in (table.parent, any_path(src)):
                labels[_joined(base, row["path"])] = row["label"]
    except (OSError, KeyError, StorageError) as error:
        raise SourceError(
            f"label = 'csv:{file}': expected a CSV with the columns path,label ({error!r})"
        ) from error
    return labels


def _joined(base: AnyPath, path: str) -> str:
    if not is_local(path):
        return str(any_path(path))
    if isinstance(base, ObjectPath):
        return str(base / path)
    return os.path.normpath(base / to_local(path))
