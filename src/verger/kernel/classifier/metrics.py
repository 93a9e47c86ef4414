"""Metrics of a classifier's answers: accuracy with its interval, macro F1, calibration error, coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Floats

N_BINS = 15
_Z95 = 1.959964
_LAST = 1_000_000  # the rank of a true label that the classifier does not know

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """A classifier's answers for n labelled photos; each field has the shape (n,).

    truth, predicted: index of the true label (-1 if the classifier does not know it) and of the predicted label.
    confidence: the probability of the predicted label.
    rank: the position of the true label in the order of probabilities, 0 for the highest.
    """

    truth: Ints
    predicted: Ints
    confidence: Floats
    rank: Ints

    @classmethod
    def from_probabilities(cls, probabilities: Floats, truth: Ints) -> Answers:
        """Return the answers for (n, n_classes) probabilities."""
        predicted = probabilities.argmax(axis=1)
        true = probabilities[np.arange(len(truth)), np.maximum(truth, 0)]
        rank = (probabilities > true[:, None]).sum(axis=1)
        rank[truth < 0] = _LAST
        return cls(truth, predicted, probabilities.max(axis=1), rank)

    @classmethod
    def concatenate(cls, parts: list[Answers]) -> Answers:
        """Return the answers of all parts, in order."""
        columns = zip(*((p.truth, p.predicted, p.confidence, p.rank) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def __getitem__(self, rows: Flags) -> Answers:
        return Answers(self.truth[rows], self.predicted[rows], self.confidence[rows], self.rank[rows])

    @property
    def is_right(self) -> Flags:
        """Whether the predicted label of each photo is the true one, (n,)."""
        return np.asarray(self.truth == self.predicted)


def evaluate_answers(
    answers: Answers, labels: tuple[str, ...], threshold: float, is_sure: Flags, is_fruit: Flags
) -> dict[str, Any]:
    """Return all metrics as JSON-compatible values; shares are 0 to 1. `answers` must not be empty.

    threshold: the classifier's threshold, for the report. is_sure: (n,) whether the predicted label is named.
    is_fruit: (n,) whether it is a fruit; with other labels nothing is named at any threshold.
    """
    n, right = len(answers.truth), answers.is_right
    confusion = _confusion(answers, len(labels))
    per_class = _per_class(confusion, labels)
    present = [row["f1"] for row in per_class if row["n_photos"]]
    return {
        "n_photos": n,
        "n_unknown_labels": int((answers.truth < 0).sum()),
        "accuracy": float(right.mean()),
        "accuracy_95": wilson(int(right.sum()), n),
        "top3": float((answers.rank < 3).mean()),
        "macro_f1": float(np.mean(present)) if present else 0.0,
        "ece": calibration_error(answers.confidence, right),
        "ece_by_chance": calibration_error_by_chance(answers.confidence),
        "threshold": threshold,
        "coverage": float(is_sure.mean()),
        "accuracy_when_sure": float(right[is_sure].mean()) if is_sure.any() else None,
        "reliability": _reliability(answers.confidence, right),
        "coverage_curve": _coverage_curve(answers.confidence[is_fruit], right[is_fruit], n),
        "per_class": per_class,
        "confusions": _confusions(confusion, labels),
    }


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927, as in Brown, Cai and DasGupta 2001)."""
    share, z2 = n_right / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def calibration_error(confidence: Floats, is_right: Flags) -> float:
    """Return the expected calibration error over 15 equal bins (Naeini et al. 2015)."""
    rows = _reliability(confidence, is_right)
    return float(sum(row["n_photos"] * abs(row["sureness"] - row["accuracy"]) for row in rows) / len(confidence))


def calibration_error_by_chance(confidence: Floats) -> float:
    """Return the calibration error that a perfectly calibrated classifier would have by chance.

    It is computed for the same answers. It is above 0 because a bin holds few answers. The number of right answers
    in a bin is assumed to be normally distributed, with the variance that follows from the confidence.
    """
    bins = _bins(confidence)
    variances = np.bincount(bins, weights=confidence * (1 - confidence))
    return float(np.sqrt(2 / np.pi * variances).sum() / len(confidence))


def _bins(confidence: Floats) -> Ints:
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)


def _reliability(confidence: Floats, is_right: Flags) -> list[dict[str, Any]]:
    bins = _bins(confidence)
    return [
        {
            "n_photos": int(inside.sum()),
            "sureness": float(confidence[inside].mean()),
            "accuracy": float(is_right[inside].mean()),
        }
        for inside in (bins == i for i in range(N_BINS))
        if inside.any()
    ]


def _coverage_curve(confidence: Floats, is_right: Flags, n_photos: int) -> list[tuple[float, float]]:
    """Return up to 100 pairs (share of photos answered, accuracy of these answers), for falling thresholds.

    confidence, is_right: of the answers that name a fruit; there may be none.
    """
    if not len(confidence):
        return []
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(is_right[order]) / np.arange(1, len(order) + 1)
    at = np.unique(np.linspace(1, len(order), 100).round().astype(np.int64)) - 1
    return [(float((i + 1) / n_photos), float(accuracy[i])) for i in at]


def _confusion(answers: Answers, n_classes: int) -> Ints:
    """Return the confusion matrix (true, predicted), without photos whose label the classifier does not know."""
    has_class = answers.truth >= 0
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (answers.truth[has_class], answers.predicted[has_class]), 1)
    return counts


def _per_class(confusion: Ints, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    right, n_true, n_predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    wrong = confusion - np.diag(right)
    return [
        {
            "label": label,
            "n_photos": int(n_true[i]),
            "precision": _share(right[i], n_predicted[i]),
            "recall": _share(right[i], n_true[i]),
            "f1": _share(2 * right[i], n_true[i] + n_predicted[i]) or 0.0,
            "mistaken_for": labels[wrong[i].argmax()] if wrong[i].any() else None,
        }
        for i, label in enumerate(labels)
        if n_true[i] or n_predicted[i]
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _confusions(confusion: Ints, labels: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Return the non-zero entries of the confusion matrix as (true label, predicted label, photos)."""
    return [(labels[i], labels[j], int(confusion[i, j])) for i, j in zip(*np.nonzero(confusion), strict=True)]
