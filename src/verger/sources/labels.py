"""Labels of photos: from the folder's name, a regular expression, or a CSV table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable

from verger.sources.label_table import LabelTable

FindLabel = Callable[[str], str | None]


class Labeller:
    """Labels photos by a rule (see Settings.label), and collects what a user must know about the labels.

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
    def needs_notes(self) -> bool:
        """Whether `note` must be called with all photos before the first call of `label`."""
        return self._table is not None

    def note(self, path: str) -> None:
        """Note that there is a photo with this path."""
        if self._table is not None:
            self._table.note(path)

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
        normal = unicodedata.normalize("NFC", label)
        if self._spellings.setdefault(normal, label) != label:
            self._twins.add(normal)
        return normal

    def warnings(self, *, has_all_photos: bool = True) -> list[str]:
        """Return what a user must know: photos without label, rows without photo, labels in two spellings.

        has_all_photos: False if only a sample of the photos was labelled, so that rows without a photo are normal.
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
        if self._twins:
            names = ", ".join(sorted(self._twins)[:3])
            warnings.append(f"{len(self._twins):,} labels had two Unicode spellings and became one each: {names}")
        return warnings


def label_function(rule: str) -> FindLabel:
    """Return the function that labels by the rule parent, regex:PATTERN or none, from a path to its label."""
    kind, _, rest = rule.partition(":")
    if kind == "parent":
        return lambda path: os.path.basename(os.path.dirname(path))
    if kind == "regex":
        pattern = re.compile(rest)
        return lambda path: match.group(1) if (match := pattern.search(path)) else None
    return lambda path: None
