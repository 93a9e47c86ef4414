"""The sets of views (`--views`): the parts of a photo whose vectors are averaged to the photo's vector.

To add a set, add a line to `VIEW_SETS`, and describe it in `VIEWS_HELP` (settings/__init__.py).
"""

from __future__ import annotations

# The left, upper, right and lower edge.
Box = tuple[float, float, float, float]

WHOLE = "whole"

_WHOLE_PHOTO: Box = (0, 0, 1, 1)
_CENTER: Box = (0.125, 0.125, 0.875, 0.875)

# The boxes of each set, as shares of the photo's width and height. The features depend on them: give a changed set
# a new name, otherwise --resume mixes the vectors of both, and classifiers get vectors of other views.
VIEW_SETS: dict[str, tuple[Box, ...]] = {
    WHOLE: (_WHOLE_PHOTO,),
    "center": (_CENTER,),
    "crops": (_CENTER, (0, 0, 0.6, 0.6), (0.4, 0, 1, 0.6), (0, 0.4, 0.6, 1), (0.4, 0.4, 1, 1)),
    "5": (_WHOLE_PHOTO, (0, 0, 0.8, 0.8), (0.2, 0, 1, 0.8), (0, 0.2, 0.8, 1), (0.2, 0.2, 1, 1)),
}

# Earlier versions had numbers of views, 1 and 5. They are in results, classifier files and users' programs.
_EARLIER_NAMES = {"1": WHOLE}


def view_set_name(value: str | int) -> str:
    """Return the name of a set of views, given by its name or by the number of views of earlier versions."""
    return _EARLIER_NAMES.get(str(value), str(value))


def view_set_key(name: str) -> str:
    """Return the part of a network's key that stands for a set of views.

    `whole` has the key of earlier versions, so that --resume can reuse their features.
    """
    return next((number for number, known in _EARLIER_NAMES.items() if known == name), name)


def pixel_boxes(boxes: tuple[Box, ...], size_px: tuple[int, int]) -> list[Box]:
    """Return the boxes in pixels for a photo of (width, height); the edges may lie between two pixels."""
    width, height = size_px
    return [(left * width, top * height, right * width, lower * height) for left, top, right, lower in boxes]


def smallest_shares(boxes: tuple[Box, ...]) -> tuple[float, float]:
    """Return the smallest share of the width and of the height that a view shows."""
    return min(right - left for left, _, right, _ in boxes), min(lower - top for _, top, _, lower in boxes)
