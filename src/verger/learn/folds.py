"""Folds of a cross-validation in which frames of one film never straddle the split."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable

from verger.errors import SettingsError

# Fruits-360 names frames [axis_]number_size: r_57_100.jpg is frame 57 of the film about the second axis.
FRAME_PATTERN = r"/((?:r\d*_)?)\d+_\d+\.\w+$"
# `verger augment` names views PHOTO__number.jpg.
VIEW_PATTERN = r"/([^/]+)__\d+\.\w+$"
GROUP_RULES = ("film", "photo", "none", "regex:PATTERN with one group")

ALWAYS_TRAINED = -1


def group_pattern(rule: str) -> str | None:
    """Return the pattern whose first group names a photo's group within its label, or None for none.

    `film`: frames of a film, named as Fruits-360 names them; other photos are groups of their own.
    `photo`: views of one photo, as `verger augment` names them.
    `regex:PATTERN`: what the pattern's group finds in the path. Raises SettingsError.
    """
    known = {"film": FRAME_PATTERN, "photo": VIEW_PATTERN, "none": None}
    if rule in known:
        return known[rule]
    pattern = rule.removeprefix("regex:")
    try:
        if pattern != rule and re.compile(pattern).groups == 1:
            return pattern
    except re.error:
        pass
    raise SettingsError("group", rule, GROUP_RULES)


def group_of(path: str, pattern: str | None) -> str | None:
    """Return a photo's group, or None where it is on its own."""
    found = re.search(pattern, path) if pattern else None
    return found[1] if found else None


def deal_groups(pairs: Iterable[tuple[str, str]], n_folds: int) -> dict[tuple[str, str], int]:
    """Return the fold of every (label, group): a label's groups are dealt out in turn.

    The only group of a label is ALWAYS_TRAINED: held out, nothing would be left to learn the label from.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label, group in sorted(pairs):
        groups[label].append(group)
    return {
        (label, group): (_hash(label) + i) % n_folds if len(of_label) > 1 else ALWAYS_TRAINED
        for label, of_label in groups.items()
        for i, group in enumerate(of_label)
    }


def fold_of(path: str, label: str, group: str | None, dealt: dict[tuple[str, str], int], n_folds: int) -> int:
    """Return a photo's fold; one on its own goes where the hash of its name and label sends it."""
    if group is not None:
        return dealt[label, group]
    return _hash(f"{label}/{path.rsplit('/', 1)[-1]}") % n_folds


def _hash(text: str) -> int:
    """The same in every process, as Python's own is not."""
    return zlib.crc32(text.encode("utf-8", "replace"))
