"""Which photos are held out: a share of each label, and never a frame of a film that is trained on."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from verger.learn.folds import FRAME_PATTERN, group_of

Rows = list[int]


def split_photos(paths: list[str], labels: list[str], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return for each photo whether it is held out, the same for the same seed.

    Per label, whole units are held out until `share` of its photos is as near as units allow: a film (see
    verger.learn.folds), or a photo on its own. A label that is one film and nothing else is cut into a
    first part, trained on, and a last one. A label's only photo is trained on.
    """
    is_held_out = np.zeros(len(paths), bool)
    of_label: dict[str, Rows] = defaultdict(list)
    for row, label in enumerate(labels):
        of_label[label].append(row)
    for label, rows in of_label.items():
        rng = np.random.default_rng((seed, zlib.crc32(label.encode("utf-8", "replace"))))
        is_held_out[_held_out(_units(rows, paths), share, rng)] = True
    return is_held_out


def _units(rows: Rows, paths: list[str]) -> list[Rows]:
    units: dict[object, Rows] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _frame_order(paths[row])):
        film = group_of(paths[row], FRAME_PATTERN)
        units[row if film is None else film].append(row)
    return list(units.values())


def _frame_order(path: str) -> tuple[list[int], str]:
    """Frames are numbered without leading zeros: 9 comes before 10."""
    return [int(number) for number in re.findall(r"\d+", path.rpartition("/")[2])], path


def _held_out(units: list[Rows], share: float, rng: np.random.Generator) -> Rows:
    n_photos = sum(map(len, units))
    n_wanted = max(1, round(share * n_photos))
    if n_photos == 1:
        return []
    if len(units) == 1:
        return units[0][-min(n_wanted, n_photos - 1) :]
    taken: list[Rows] = []
    n_taken = 0
    for i in rng.permutation(len(units)):
        is_nearer = abs(n_taken + len(units[i]) - n_wanted) < abs(n_taken - n_wanted)
        if is_nearer and len(taken) < len(units) - 1:
            taken.append(units[i])
            n_taken += len(units[i])
    taken = taken or [min(units, key=len)]  # every film is more than twice what is wanted
    return [row for unit in taken for row in unit]
