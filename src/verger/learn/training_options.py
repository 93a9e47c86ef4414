"""How a classifier is trained, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from verger.errors import SettingsError
from verger.learn.folds import group_pattern


@dataclass(frozen=True)
class TrainOptions:
    """How to train: `regularisations` are tried over `n_folds` folds of `group`s (see classify.folds).

    Features are standardised and turned onto their first `n_directions` principal directions, with which the
    regression is much faster and, by L2, hardly another. Answers are "not sure" below the probability from
    which on held-out photos were named rightly `accuracy` of the time.
    """

    group: str = "film"
    n_folds: int = 5
    regularisations: tuple[float, ...] = (0.00003, 0.0003, 0.003, 0.03)
    n_directions: int = 512
    accuracy: float = 0.95
    max_iterations: int = 60

    def __post_init__(self) -> None:
        group_pattern(self.group)
        if self.n_folds < 2:
            raise SettingsError("folds", self.n_folds, "2 or more")
        if not self.regularisations or min(self.regularisations) < 0:
            raise SettingsError("regularisation", self.regularisations, "numbers of 0 or more")
        if not 0 < self.accuracy <= 1:
            raise SettingsError("accuracy", self.accuracy, "a share over 0, 1 at most")


def parse_regularisations(text: str) -> tuple[float, ...]:
    """Return the numbers of a text like "0.01,0.1"; raises SettingsError."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError("regularisation", text, "numbers with commas between them") from error
