"""Transforms of feature vectors: a classifier applies one to every vector before its linear function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NONE = "none"
SIGNED_SQRT = "signed-sqrt"


def transform(name: str, vectors: npt.NDArray[Any]) -> Floats:
    """Apply the transform `name` of TRANSFORMS to (n, d) vectors."""
    return TRANSFORMS[name](np.asarray(vectors, np.float32))


def _keep(vectors: Floats) -> Floats:
    """Return the vectors unchanged."""
    return vectors


def _divide_by_length(vectors: Floats) -> Floats:
    """Divide each vector by its Euclidean length; vectors of zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _signed_sqrt(vectors: Floats) -> Floats:
    """Replace each x by sign(x) * sqrt(|x|), then divide each vector by its length.

    Perronnin, Sánchez and Mensink 2010, "Improving the Fisher Kernel for Large-Scale Image Classification".
    A division by the length before the root would change nothing, because the later division removes any factor.
    """
    return _divide_by_length(np.copysign(np.sqrt(np.abs(vectors)), vectors))


TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    NONE: _keep,
    "l2": _divide_by_length,
    SIGNED_SQRT: _signed_sqrt,
}
