"""Train a classifier: choose the regularisation by cross-validation, calibrate it, export it to numpy.

This module does not depend on the engine. `fit_local` and `fit_spark` implement the protocols `Examples`, to read
the vectors, and `Fitter`, to fit the regressions. Both fit softmax regressions on features that are standardised
and projected onto their principal directions. They minimise this sum, without a penalty on the intercept:

    sum_i weight_i * -log p(class_i | x_i) / sum_i weight_i  +  regularisation / 2 * |coef|^2
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from verger.errors import ClassifierError
from verger.kernel.classifier.classifier import Classifier, Floats, softmax
from verger.kernel.classifier.metrics import Answers, evaluate_answers
from verger.kernel.classifier.temperature import calibrate, log_loss
from verger.kernel.moments import Moments
from verger.kernel.pca import Criterion, Projection, max_components
from verger.learn.folds import ALWAYS_TRAINED, assign_groups, fold_of, group_of, group_pattern
from verger.learn.training_options import TrainOptions
from verger.process.progress import Progress

# The maximum number of cross-validated photos: more photos take longer, but do not improve the choice.
MAX_CROSS_VALIDATED = 3_000

# The tolerance of both optimisers (L-BFGS).
TOLERANCE = 1e-4

# The logit of a class that had no photo in the fit: its probability becomes practically 0.
_UNSEEN_LOGIT = -30.0

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingResult:
    """A trained classifier and its evaluation by cross-validation."""

    classifier: Classifier
    evaluation: dict[str, Any]


@dataclass(frozen=True)
class TrainingPlan:
    """The rules for the class, the weight and the fold of each photo, and for which photos are cross-validated.

    counts: photos per label. pattern: regular expression that finds a photo's group in its path; None: no groups.
    group_folds: fold of each (label, group).
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
        return fold_of(path, label, group_of(path, self.pattern), self.group_folds, self.n_folds)

    def is_sampled(self, path: str) -> bool:
        """Return whether a photo is used in the cross-validation."""
        return hashlib.sha256(path.encode("utf-8", "replace")).hexdigest() < self.sample_end


@dataclass(frozen=True)
class Regression:
    """Softmax regression: coef (n_classes, n_directions) and intercept (n_classes,), float32."""

    coef: Floats
    intercept: Floats

    @classmethod
    def of_seen(cls, coef: npt.NDArray[Any], intercept: npt.NDArray[Any], seen: Ints, n_classes: int) -> Regression:
        """Return a regression for all classes, made from one that was fitted only on the class numbers `seen`."""
        all_coef = np.zeros((n_classes, coef.shape[1]), np.float32)
        all_intercept = np.full(n_classes, _UNSEEN_LOGIT, np.float32)
        all_coef[seen] = coef
        # Spark returns an infinite intercept if there was only one class.
        all_intercept[seen] = np.nan_to_num(intercept, posinf=-_UNSEEN_LOGIT)
        return cls(all_coef, all_intercept)

    def logits(self, vectors: Floats) -> Floats:
        """Return the (n, n_classes) scores of (n, n_directions) vectors."""
        return np.asarray(vectors @ self.coef.T + self.intercept, np.float32)

    def compose_with(self, projection: Projection) -> Regression:
        """Return the regression that gives the same scores directly from the inputs of `projection`."""
        coef = self.coef.astype(np.float64) @ projection.directions / projection.scale
        intercept = self.intercept - coef @ projection.mean
        return Regression(coef.astype(np.float32), intercept.astype(np.float32))


@dataclass(frozen=True)
class HeldOutScores:
    """Logits (n, n_classes) and true classes (n,) of photos on which the regression was not fitted."""

    logits: Floats
    truth: Ints


class Fitter(Protocol):
    """Fits regressions on projected vectors."""

    @property
    def projection(self) -> Projection:
        """The projection from the vectors of the table to the vectors on which regressions are fitted."""

    def folds(self) -> set[int]:
        """Return the numbers of the folds that have photos."""

    def fit(self, regularisation: float) -> Regression:
        """Fit a regression on all photos."""

    def score_held_out(self, trials: Sequence[tuple[float, int]]) -> Iterator[HeldOutScores]:
        """For each (regularisation, fold), fit all other folds and yield the scores of the photos in this fold.

        Only photos of the plan's sample are scored.
        """


class Examples(Protocol):
    """The labelled vectors of a table, excluding rows without a label or a vector."""

    @property
    def column(self) -> str:
        """The name of the column with the vectors."""

    def count_labels(self) -> dict[str, int]:
        """Return the number of photos of each label."""

    def find_groups(self, pattern: str) -> set[tuple[str, str]]:
        """Return the set of (label, group) pairs of the photos, except photos whose path has no group."""

    def prepare(self, plan: TrainingPlan, options: TrainOptions) -> AbstractContextManager[Fitter]:
        """Standardise and project the vectors onto their `n_directions` first principal directions."""


def train(
    examples: Examples,
    options: TrainOptions,
    progress: Progress,
    *,
    network: dict[str, Any],
    input_pca: Projection | None = None,
) -> TrainingResult:
    """Train a classifier on labelled examples.

    network: the NetworkSpec with which the features were computed; it is stored in the classifier.
    input_pca: if the vectors are components, the PCA that computed them.
    Raises ClassifierError if there are fewer than two labels, or if no photo can be held out.
    """
    plan = plan_training(examples, options)
    progress.stage("project")
    with examples.prepare(plan, options) as fitter:
        scores = _cross_validate(fitter, options, progress)
        best = min(scores, key=lambda score: (-round(score.accuracy, 4), score.log_loss))
        progress.stage("train")
        regression = fitter.fit(best.regularisation).compose_with(fitter.projection)
    if input_pca is not None:
        regression = regression.compose_with(input_pca)
    temperature, threshold = calibrate(best.logits, best.truth, options.accuracy)
    probabilities = softmax(best.logits / np.float32(temperature))
    evaluation = evaluate_answers(Answers.from_probabilities(probabilities, best.truth), plan.labels, threshold)
    evaluation["cross_validation"] = _describe_choice(scores, best, options)
    about = {"n_photos": plan.n_photos, "on": examples.column, "regularisation": best.regularisation}
    coef, intercept = regression.coef, regression.intercept
    classifier = Classifier(plan.labels, coef, intercept, temperature, threshold, network, about)
    return TrainingResult(classifier, evaluation)


def plan_training(examples: Examples, options: TrainOptions) -> TrainingPlan:
    """Return the plan of a training; raises ClassifierError if there are fewer than two labels."""
    counts = examples.count_labels()
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise ClassifierError(f"training needs photos of at least two labels; found: {found}")
    pattern = group_pattern(options.group)
    groups = examples.find_groups(pattern) if pattern is not None else set()
    return TrainingPlan(counts, pattern, assign_groups(groups, options.n_folds), options.n_folds)


def criterion_for(moments: Moments, n_directions: int) -> Criterion:
    """Return how many principal directions to compute: for wide vectors `n_directions`, otherwise all."""
    if moments.is_wide:
        return Criterion(k=min(n_directions, max_components(moments)))
    return Criterion(variance=1.0)


@dataclass(frozen=True)
class _CandidateScore:
    """The held-out scores of the photos of all folds, with one value of the regularisation."""

    regularisation: float
    logits: Floats
    truth: Ints

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(axis=1) == self.truth).mean())

    @property
    def log_loss(self) -> float:
        return log_loss(softmax(self.logits), self.truth)


def _cross_validate(fitter: Fitter, options: TrainOptions, progress: Progress) -> list[_CandidateScore]:
    """Return the photos' scores for each regularisation; no regression scores photos on which it was fitted."""
    folds = sorted(fitter.folds() - {ALWAYS_TRAINED})
    if not folds:
        raise ClassifierError("cannot cross-validate: each label has only one group of photos. Try --group none")
    trials = [(regularisation, fold) for regularisation in options.regularisations for fold in folds]
    progress.stage("cross-validate", len(trials))
    parts: dict[float, list[HeldOutScores]] = {regularisation: [] for regularisation in options.regularisations}
    scored = zip(trials, fitter.score_held_out(trials), strict=True)
    for n_done, ((regularisation, _), scores) in enumerate(scored, 1):
        parts[regularisation].append(scores)
        progress.advance(n_done, 0)
    return [
        _CandidateScore(value, np.concatenate([s.logits for s in of]), np.concatenate([s.truth for s in of]))
        for value, of in parts.items()
    ]


def _describe_choice(scores: list[_CandidateScore], best: _CandidateScore, options: TrainOptions) -> dict[str, Any]:
    return {
        "n_folds": options.n_folds,
        "group": options.group,
        "regularisation": best.regularisation,
        "tried": [
            {"regularisation": s.regularisation, "accuracy": s.accuracy, "log_loss": s.log_loss} for s in scores
        ],
    }
