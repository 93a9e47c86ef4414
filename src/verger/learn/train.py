"""Train a classifier: choose its strength by cross-validation, calibrate it, export it to numpy.

This module does not depend on the classifier and the engine. `fit_lda`, `fit_local` and `fit_spark` implement the
protocols `Examples`, to read the vectors, and `Fitter`, to fit regressions. The *strength* is the number that
cross-validation chooses: the regularisation of a logistic regression, the shrinkage of lda.

`fit_local` and `fit_spark` fit softmax regressions on features that are standardised and projected onto their
principal directions. They minimise this sum, without a penalty on the intercept:

    sum_i weight_i * -log p(class_i | x_i) / sum_i weight_i  +  regularisation / 2 * |coef|^2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from verger.errors import ClassifierError
from verger.kernel.classifier.classifier import Classifier, Floats, softmax
from verger.kernel.classifier.evaluation import Judgement, evaluate_levels
from verger.kernel.classifier.folds import ALWAYS_TRAINED, assign_groups, assign_whole_groups, group_pattern
from verger.kernel.classifier.levels import levels_of
from verger.kernel.classifier.temperature import calibrate, log_loss
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.moments import Moments
from verger.kernel.pca import Criterion, Projection, max_components
from verger.learn.training_options import LDA, TrainOptions
from verger.process.progress import Progress

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
class Regression:
    """Softmax of linear functions: coef (n_classes, d) and intercept (n_classes,), float32."""

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
        """Return the (n, n_classes) scores of (n, d) vectors."""
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
    """Fits regressions with different strengths."""

    def folds(self) -> set[int]:
        """Return the numbers of the folds that have photos."""

    def fit(self, strength: float) -> Regression:
        """Return a regression for the vectors of the table, after the transform, fitted on all photos."""

    def score_held_out(self, trials: Sequence[tuple[float, int]]) -> Iterator[HeldOutScores]:
        """For each (strength, fold), fit all other folds and yield the scores of the photos in this fold.

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
        """Read the vectors and prepare them for the fits."""


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
    progress.stage("prepare")
    with examples.prepare(plan, options) as fitter:
        scores = _cross_validate(fitter, options, progress)
        if not len(scores[0].truth):
            raise ClassifierError(
                "cannot cross-validate: none of the photos that are scored (about 3,000, chosen by their paths) "
                "can be held out. Try another --group, or --group none"
            )
        best = min(scores, key=lambda score: (-round(score.accuracy, 4), score.log_loss))
        progress.stage("train")
        regression = fitter.fit(best.strength)
    if input_pca is not None:
        regression = regression.compose_with(input_pca)
    levels = levels_of(plan.labels)
    fitted = calibrate(best.logits, best.truth, options.accuracy, levels)
    classifier = Classifier(
        plan.labels,
        regression.coef,
        regression.intercept,
        fitted.temperature,
        fitted.threshold,
        network,
        {"n_photos": plan.n_photos, "on": examples.column, **_describe_fit(best, options)},
        options.transform_name,
        fitted.variety_threshold,
    )
    probabilities = softmax(best.logits / np.float32(fitted.temperature))
    judgement = Judgement.of(classifier, probabilities, [plan.labels[i] for i in best.truth])
    evaluation = evaluate_levels(judgement, levels, fitted.threshold)
    evaluation["cross_validation"] = _describe_choice(scores, best, options)
    return TrainingResult(classifier, evaluation)


def plan_training(examples: Examples, options: TrainOptions) -> TrainingPlan:
    """Return the plan of a training; raises ClassifierError if there are fewer than two labels."""
    counts = examples.count_labels()
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise ClassifierError(f"training needs photos of at least two labels; found: {found}")
    pattern = group_pattern(options.group)
    groups = examples.find_groups(pattern) if pattern is not None else set()
    if options.leaves_groups_out:
        return TrainingPlan(counts, pattern, assign_whole_groups(groups, options.n_folds), 0)
    return TrainingPlan(counts, pattern, assign_groups(groups, options.n_folds), options.n_folds)


def criterion_for(moments: Moments, n_directions: int) -> Criterion:
    """Return how many principal directions to compute: for wide vectors `n_directions`, otherwise all."""
    if moments.is_wide:
        return Criterion(k=min(n_directions, max_components(moments)))
    return Criterion(variance=1.0)


@dataclass(frozen=True)
class _CandidateScore:
    """The held-out scores of the photos of all folds, with one strength. log_loss: before calibration."""

    strength: float
    n_folds: int
    logits: Floats
    truth: Ints

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(axis=1) == self.truth).mean())

    @property
    def log_loss(self) -> float:
        return log_loss(softmax(self.logits), self.truth)


def _cross_validate(fitter: Fitter, options: TrainOptions, progress: Progress) -> list[_CandidateScore]:
    """Return the photos' scores for each strength; no regression scores photos on which it was fitted."""
    folds = sorted(fitter.folds() - {ALWAYS_TRAINED})
    if not folds:
        raise ClassifierError("cannot cross-validate: each label has only one group of photos. Try --group none")
    trials = [(strength, fold) for fold in folds for strength in options.strengths]
    progress.stage("cross-validate", len(trials))
    parts: dict[float, list[HeldOutScores]] = {strength: [] for strength in options.strengths}
    scored = zip(trials, fitter.score_held_out(trials), strict=True)
    for n_done, ((strength, _), scores) in enumerate(scored, 1):
        parts[strength].append(scores)
        progress.advance(n_done, 0)
    return [
        _CandidateScore(
            value, len(folds), np.concatenate([s.logits for s in of]), np.concatenate([s.truth for s in of])
        )
        for value, of in parts.items()
    ]


def _describe_choice(scores: list[_CandidateScore], best: _CandidateScore, options: TrainOptions) -> dict[str, Any]:
    name = options.strength_name
    return {
        "n_folds": best.n_folds if options.leaves_groups_out else options.n_folds,
        "group": options.group,
        "transform": options.transform_name,
        **_describe_fit(best, options),
        "tried": [{name: s.strength, "accuracy": s.accuracy, "log_loss": s.log_loss} for s in scores],
    }


def _describe_fit(best: _CandidateScore, options: TrainOptions) -> dict[str, Any]:
    priors = {"priors": options.priors} if options.classifier == LDA else {}
    return {"classifier": options.classifier, options.strength_name: best.strength, **priors}
