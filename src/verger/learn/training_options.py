"""Options of a training, validated when they are created."""

from __future__ import annotations

from dataclasses import dataclass

from verger.errors import SettingsError
from verger.learn.folds import group_pattern

FEATURES = "features"


@dataclass(frozen=True)
class TrainOptions:
    """How to train a classifier.

    column: name of the table to train on, and of its column of vectors: "features" or "components".
    group: rule for the photos that stay in one fold (see verger.learn.folds.group_pattern).
    n_folds: number of folds of the cross-validation, which chooses one of the `regularisations`.
    n_directions: number of principal directions onto which the standardised features are projected. The fit becomes
        much faster, and changes little because of the L2 penalty.
    accuracy: determines the "not sure" threshold: on held-out photos, this share of the answers above the threshold
        is correct.
    max_iterations: limit of the optimiser in each fit.
    """

    column: str = FEATURES
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
            raise SettingsError("accuracy", self.accuracy, "a share over 0 and at most 1")


def parse_regularisations(text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas, like "0.01,0.1"; raises SettingsError."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError("regularisation", text, "numbers separated by commas, like 0.003,0.03") from error
