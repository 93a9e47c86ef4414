"""How good a classifier's answers are: accuracy, macro F1, calibration, coverage; with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Floats

N_BINS = 15
_Z95 = 1.959964
_LAST = 1_000_000  # the rank of a label that the classifier does not know

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """What was said of n labelled photos: indices of the true and the named label, how sure, how ranked.

    `truth` (n,) is -1 where the label is not among the classifier's; `rank` (n,) is the true label's place,
    0 for the best.
    """

    truth: Ints
    named: Ints
    sureness: Floats
    rank: Ints

    @classmethod
    def of(cls, probabilities: Floats, truth: Ints) -> Answers:
        """Return the answers that (n, n_classes) probabilities give."""
        named = probabilities.argmax(axis=1)
        true = probabilities[np.arange(len(truth)), np.maximum(truth, 0)]
        rank = (probabilities > true[:, None]).sum(axis=1)
        rank[truth < 0] = _LAST
        return cls(truth, named, probabilities.max(axis=1), rank)

    @classmethod
    def joined(cls, parts: list[Answers]) -> Answers:
        """Return several as one."""
        columns = zip(*((p.truth, p.named, p.sureness, p.rank) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each photo was named rightly."""
        return np.asarray(self.truth == self.named)


def evaluate_answers(answers: Answers, labels: tuple[str, ...], threshold: float) -> dict[str, Any]:
    """Return the evaluation as JSON takes it; shares are 0 to 1. `answers` must not be empty."""
    n, right = len(answers.truth), answers.is_right
    sure = answers.sureness >= threshold
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
        "ece": calibration_error(answers.sureness, right),
        "ece_by_chance": calibration_error_by_chance(answers.sureness),
        "threshold": threshold,
        "coverage": float(sure.mean()),
        "accuracy_when_sure": float(right[sure].mean()) if sure.any() else None,
        "reliability": _reliability(answers.sureness, right),
        "coverage_curve": _coverage_curve(answers.sureness, right),
        "per_class": per_class,
        "confusions": _confusions(confusion, labels),
    }


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, as in Brown, Cai and DasGupta 2001)."""
    share, z2 = n_right / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def calibration_error(sureness: Floats, is_right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error over 15 equal bins (Naeini et al. 2015)."""
    rows = _reliability(sureness, is_right)
    return float(sum(row["n_photos"] * abs(row["sureness"] - row["accuracy"]) for row in rows) / len(sureness))


def calibration_error_by_chance(sureness: Floats) -> float:
    """Return about what a perfectly calibrated classifier's error would be: 0 only where there are many answers.

    A bin's number of right answers is taken as normal, with the variance that its sureness implies.
    """
    bins = _bins(sureness)
    variances = np.bincount(bins, weights=sureness * (1 - sureness))
    return float(np.sqrt(2 / np.pi * variances).sum() / len(sureness))


def _bins(sureness: Floats) -> Ints:
    return np.minimum((sureness * N_BINS).astype(np.int64), N_BINS - 1)


def _reliability(sureness: Floats, is_right: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    bins = _bins(sureness)
    return [
        {
            "n_photos": int(inside.sum()),
            "sureness": float(sureness[inside].mean()),
            "accuracy": float(is_right[inside].mean()),
        }
        for inside in (bins == i for i in range(N_BINS))
        if inside.any()
    ]


def _coverage_curve(sureness: Floats, is_right: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Pairs (share answered, accuracy of those) as the threshold falls, 100 at most."""
    order = np.argsort(-sureness, kind="stable")
    accuracy = np.cumsum(is_right[order]) / np.arange(1, len(order) + 1)
    at = np.unique(np.linspace(1, len(order), 100).round().astype(np.int64)) - 1
    return [(float((i + 1) / len(order)), float(accuracy[i])) for i in at]


def _confusion(answers: Answers, n_classes: int) -> Ints:
    """Counts (true, named); photos of labels that the classifier does not know are left out."""
    known = answers.truth >= 0
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (answers.truth[known], answers.named[known]), 1)
    return counts


def _per_class(confusion: Ints, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    right, n_true, n_named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    wrong = confusion - np.diag(right)
    return [
        {
            "label": label,
            "n_photos": int(n_true[i]),
            "precision": _share(right[i], n_named[i]),
            "recall": _share(right[i], n_true[i]),
            "f1": _share(2 * right[i], n_true[i] + n_named[i]) or 0.0,
            "mistaken_for": labels[wrong[i].argmax()] if wrong[i].any() else None,
        }
        for i, label in enumerate(labels)
        if n_true[i] or n_named[i]
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _confusions(confusion: Ints, labels: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Every (true, named, photos) that occurs."""
    return [(labels[i], labels[j], int(confusion[i, j])) for i, j in zip(*np.nonzero(confusion), strict=True)]
