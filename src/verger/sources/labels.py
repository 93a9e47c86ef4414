"""Labels of photos: from the folder's name, a regular expression, or a CSV table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable

from verger.sources.label_table import LabelTable

FindLabel = Callable[[str], str | None]


class Labeller:
    """Labels photos by a rule (see Settings.label), and collects problems with the labels for `warnings`.

    Paths are local paths without file:, or URIs of object stores. Labels that differ only in their Unicode normal
    form become one label, in the form NFC.
    """

    def __init__(self, rule: str, src: str) -> None:
        self._rule = rule
        self._table = LabelTable(rule.removeprefix("csv:"), src) if rule.startswith("csv:") else None
        self._find = self._table.find if self._table else label_function(rule)
        self._spellings: dict[str, str] = {}
        self._twins: set[str] = set()
        self._n_photos = self._n_without = 0
        self._first_without = ""

    @property
    def needs_all_paths(self) -> bool:
        """Whether `record` must be called with all photos before the first call of `label`."""
        return self._table is not None

    def record(self, path: str) -> None:
        """Record the path of a photo. The rows of a label table are matched with the recorded paths."""
        if self._table is not None:
            self._table.record(path)

    def label(self, path: str) -> str | None:
        """Return the label of a photo; None if it has none."""
        return self.add(path, self._find(path))

    def add(self, path: str, label: str | None) -> str | None:
        """Count a photo and its label, and return the label in the form NFC."""
        self._n_photos += 1
        if label is None:
            self._first_without = self._first_without or path
            self._n_without += 1
            return None
        if label.isascii():
            return label
        normal = nfc(label)
        if self._spellings.setdefault(normal, label) != label:
            self._twins.add(normal)
        return normal

    def warnings(self, *, has_all_photos: bool = True) -> list[str]:
        """Return warnings about photos without a label, rows without a photo, and labels in two Unicode forms.

        has_all_photos: False if only a sample of the photos was labelled. Then there is no warning about rows
        without a photo, because such rows are normal.
        """
        warnings = []
        if self._n_without and self._rule != "none":
            some = f"{self._n_without:,} of" if self._n_without < self._n_photos else "none of the"
            verb = "have no label" if self._n_without < self._n_photos else "has a label"
            warnings.append(
                f"label = {self._rule!r}: {some} {self._n_photos:,} photos {verb} (first: {self._first_without})"
            )
        if has_all_photos and self._table is not None and (rows := self._table.unmatched()):
            warnings.append(f"label = {self._rule!r}: {len(rows):,} rows match no photo (first: {rows[0]})")
        if self._table is not None and self._table.is_windows_encoded:
            warnings.append(f"label = {self._rule!r}: not UTF-8, read as Windows-1252: check labels with accents")
        if self._twins:
            names = ", ".join(sorted(self._twins)[:3])
            warnings.append(f"{len(self._twins):,} labels are written in two Unicode forms, joined to one: {names}")
        return warnings


def nfc(label: str) -> str:
    """Return a label in the Unicode form NFC."""
    return unicodedata.normalize("NFC", label)


def label_function(rule: str) -> FindLabel:
    """Return the function from a path to its label for one of the rules parent, regex:PATTERN and none."""
    kind, _, rest = rule.partition(":")
    if kind == "parent":
        return lambda path: os.path.basename(os.path.dirname(path))
    if kind == "regex":
        pattern = re.compile(rest)
        return lambda path: match.group(1) if (match := pattern.search(path)) else None
    return lambda path: None
