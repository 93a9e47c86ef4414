"""Folds of a cross-validation: photos of one group, such as the frames of a film, are always in the same fold."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable

from verger.errors import ClassifierError, SettingsError

# Fruits-360 names frames [axis_]number_size: r_57_100.jpg is frame 57 of the film about the second axis.
FRAME_PATTERN = r"/((?:r\d*_)?)\d+_\d+\.\w+$"
# `verger augment` names views PHOTO__number.jpg.
VIEW_PATTERN = r"/([^/]+)__\d+\.\w+$"
REGEX_RULE = "regex:PATTERN with one group"
GROUP_RULES = ("film", "photo", "none", REGEX_RULE)

ALWAYS_TRAINED = -1

# With more groups than this, several groups share a fold.
MAX_GROUP_FOLDS = 20


def group_pattern(rule: str) -> str | None:
    """Return the regular expression that captures the name of a photo's group from its path; None for no groups.

    `film`: a group is the frames of a film, named as in Fruits-360; any other photo belongs to no group.
    `photo`: a group is the views of one photo, named as by `verger augment`.
    `regex:PATTERN`: a group is the photos for which PATTERN captures the same text. `none`: there are no groups.
    Raises SettingsError for any other rule.
    """
    patterns = {"film": FRAME_PATTERN, "photo": VIEW_PATTERN, "none": None}
    if rule in patterns:
        return patterns[rule]
    pattern = capture_pattern(rule)
    if pattern is None:
        raise SettingsError("group", rule, GROUP_RULES)
    return pattern


def capture_pattern(rule: str) -> str | None:
    """Return the PATTERN of a rule `regex:PATTERN`; None if it is another rule or has not exactly one group."""
    pattern = rule.removeprefix("regex:")
    try:
        return pattern if pattern != rule and re.compile(pattern).groups == 1 else None
    except re.error:
        return None


def group_of(path: str, pattern: str | None) -> str | None:
    """Return the group of a photo; None if the photo belongs to no group."""
    found = re.search(pattern, path) if pattern else None
    return found[1] if found else None


def assign_groups(pairs: Iterable[tuple[str, str]], n_folds: int) -> dict[tuple[str, str], int]:
    """Return the fold of every (label, group): the groups of a label are assigned to the folds in turn.

    If a label has only one group, this group gets ALWAYS_TRAINED instead of a fold: if it were held out, there
    would be no photo of this label to train on.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label, group in sorted(pairs):
        groups[label].append(group)
    return {
        (label, group): (_hash(label) + i) % n_folds if len(of_label) > 1 else ALWAYS_TRAINED
        for label, of_label in groups.items()
        for i, group in enumerate(of_label)
    }


def assign_whole_groups(pairs: Iterable[tuple[str, str]], n_folds: int) -> dict[tuple[str, str], int]:
    """Return the fold of every (label, group), such that a group is in the same fold for all labels.

    Each group is a fold of its own if there are at most MAX_GROUP_FOLDS groups; otherwise the groups are assigned
    to `n_folds` folds in turn. A label with only one group gets ALWAYS_TRAINED, as in `assign_groups`. Raises
    ClassifierError if there are no groups.
    """
    pairs = set(pairs)
    names = sorted({group for _, group in pairs})
    if not names:
        raise ClassifierError("folds = groups: the rule of --group finds no group in the paths of the photos")
    n = len(names) if len(names) <= MAX_GROUP_FOLDS else n_folds
    folds = {name: number % n for number, name in enumerate(names)}
    n_groups = Counter(label for label, _ in pairs)
    return {(label, group): folds[group] if n_groups[label] > 1 else ALWAYS_TRAINED for label, group in pairs}


def fold_of(path: str, label: str, group: str | None, group_folds: dict[tuple[str, str], int], n_folds: int) -> int:
    """Return a photo's fold: the fold of its group; without a group, a hash of label and file name."""
    if group is not None:
        return group_folds[label, group]
    return _hash(f"{label}/{path.rsplit('/', 1)[-1]}") % n_folds


def _hash(text: str) -> int:
    """Return a hash that is the same in every process, unlike Python's built-in hash."""
    return zlib.crc32(text.encode("utf-8", "replace"))
