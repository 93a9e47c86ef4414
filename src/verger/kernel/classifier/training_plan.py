"""The plan of a training: the class, the weight and the fold of each photo, and the sample of photos to score."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from verger.kernel.classifier.folds import ALWAYS_TRAINED, fold_of, group_of

# The maximum number of cross-validated photos: more photos take longer, but do not improve the choice.
MAX_CROSS_VALIDATED = 3_000


@dataclass(frozen=True)
class TrainingPlan:
    """The rules for the class, the weight and the fold of each photo, and for which photos are cross-validated.

    counts: photos per label. pattern: regular expression that finds a photo's group in its path; None: no groups.
    group_folds: fold of each (label, group). n_folds: number of folds for photos without a group; 0: these
        photos are never held out.
    """

    counts: dict[str, int]
    pattern: str | None
    group_folds: dict[tuple[str, str], int]
    n_folds: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their class numbers."""
        return tuple(sorted(self.counts))

    @property
    def n_photos(self) -> int:
        """The number of labelled photos."""
        return sum(self.counts.values())

    @property
    def classes(self) -> dict[str, int]:
        """The class number of each label."""
        return {label: number for number, label in enumerate(self.labels)}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of one photo of each label, such that all labels have the same weight in total."""
        return {label: self.n_photos / (len(self.counts) * n) for label, n in self.counts.items()}

    @property
    def sample_end(self) -> str:
        """Hexadecimal text; photos whose paths have a SHA-256 below this text are cross-validated."""
        share = MAX_CROSS_VALIDATED / max(self.n_photos, 1)
        return "g" if share >= 1 else f"{int(share * 2**64):016x}"

    def fold_of(self, path: str, label: str) -> int:
        """Return the fold of a photo; ALWAYS_TRAINED if the photo must not be held out."""
        group = group_of(path, self.pattern)
        if group is None and not self.n_folds:
            return ALWAYS_TRAINED
        return fold_of(path, label, group, self.group_folds, self.n_folds)

    def is_sampled(self, path: str) -> bool:
        """Return whether a photo is used in the cross-validation."""
        return hashlib.sha256(path.encode("utf-8", "replace")).hexdigest() < self.sample_end
