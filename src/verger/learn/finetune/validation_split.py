"""Split photos into training and validation photos: a share of each label is held out, and films stay whole."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.folds import FRAME_PATTERN, group_of

Rows = list[int]


def split_photos(paths: list[str], labels: list[str], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return for each photo whether it is held out for validation. The same seed gives the same split.

    For each label, about `share` of the photos are held out. Normally only whole units are held out. A unit is a
    film (see verger.kernel.classifier.folds), or a photo that belongs to no film. If all photos of a label are one
    film, the last frames of the film are held out. If a label has only one photo, it is used for training.
    """
    is_held_out = np.zeros(len(paths), bool)
    of_label: dict[str, Rows] = defaultdict(list)
    for row, label in enumerate(labels):
        of_label[label].append(row)
    for label, rows in of_label.items():
        rng = np.random.default_rng((seed, zlib.crc32(label.encode("utf-8", "replace"))))
        is_held_out[_choose_held_out(_group_into_units(rows, paths), share, rng)] = True
    return is_held_out


def _group_into_units(rows: Rows, paths: list[str]) -> list[Rows]:
    units: dict[object, Rows] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _frame_order(paths[row])):
        film = group_of(paths[row], FRAME_PATTERN)
        units[row if film is None else film].append(row)
    return list(units.values())


def _frame_order(path: str) -> tuple[list[int], str]:
    """Return a key that sorts frames by number, not by name, because the names have no leading zeros."""
    return [int(number) for number in re.findall(r"\d+", path.rpartition("/")[2])], path


def _choose_held_out(units: list[Rows], share: float, rng: np.random.Generator) -> Rows:
    n_photos = sum(map(len, units))
    n_target = max(1, round(share * n_photos))
    if n_photos == 1:
        return []
    if len(units) == 1:
        return units[0][-min(n_target, n_photos - 1) :]
    taken: list[Rows] = []
    n_taken = 0
    for i in rng.permutation(len(units)):
        is_nearer = abs(n_taken + len(units[i]) - n_target) < abs(n_taken - n_target)
        if is_nearer and len(taken) < len(units) - 1:
            taken.append(units[i])
            n_taken += len(units[i])
    taken = taken or [min(units, key=len)]  # every film has more than twice the target
    return [row for unit in taken for row in unit]
