"""Train a classifier: choose its regularisation by cross-validation, calibrate it, export it to numpy.

What is here does not depend on the engine. `fit_local` and `fit_spark` hold the vectors and fit the regressions,
behind the protocols `Examples` and `Fitter`. Both minimise

    sum_i weight_i * -log p(class_i | x_i) / sum_i weight_i  +  regularisation / 2 * |coef|^2

over softmax regressions on standardised features, projected onto their principal directions; the intercept is not
penalised.
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
from verger.learn.folds import ALWAYS_TRAINED, deal_groups, fold_of, group_of, group_pattern
from verger.learn.training_options import TrainOptions
from verger.process.progress import Progress

# Cross-validation fits many times over; on so many photos it chooses as well as on millions.
MAX_CROSS_VALIDATED = 3_000

# The tolerance of both optimisers (L-BFGS).
TOLERANCE = 1e-4

# The logit of a class that a fold's training has not seen: practically no chance.
_UNSEEN = -30.0

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """A classifier, and its evaluation by cross-validation."""

    classifier: Classifier
    evaluation: dict[str, Any]


@dataclass(frozen=True)
class Scheme:
    """How photos enter the training: the class, weight and fold of each, and who is cross-validated.

    counts: photos per label. pattern: finds a photo's group in its path. dealt: fold of each (label, group).
    """

    counts: dict[str, int]
    pattern: str | None
    dealt: dict[tuple[str, str], int]
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
        """The weight of a photo of each label: labels weigh the same, however many photos they have."""
        return {label: self.n_photos / (len(self.counts) * n) for label, n in self.counts.items()}

    @property
    def sample_end(self) -> str:
        """Photos whose path has a SHA-256 below this (as hexadecimal text) are cross-validated."""
        share = MAX_CROSS_VALIDATED / max(self.n_photos, 1)
        return "g" if share >= 1 else f"{int(share * 2**64):016x}"

    def fold_of(self, path: str, label: str) -> int:
        """Return a photo's fold, ALWAYS_TRAINED where it cannot be held out."""
        return fold_of(path, label, group_of(path, self.pattern), self.dealt, self.n_folds)

    def is_sampled(self, path: str) -> bool:
        """Return whether a photo takes part in the cross-validation."""
        return hashlib.sha256(path.encode("utf-8", "replace")).hexdigest() < self.sample_end


@dataclass(frozen=True)
class Regression:
    """Softmax regression: coef (n_classes, n_directions) and intercept (n_classes,), float32."""

    coef: Floats
    intercept: Floats

    @classmethod
    def of_seen(cls, coef: npt.NDArray[Any], intercept: npt.NDArray[Any], seen: Ints, n_classes: int) -> Regression:
        """Return the regression on all classes from one on those that occurred, numbered `seen`."""
        all_coef = np.zeros((n_classes, coef.shape[1]), np.float32)
        all_intercept = np.full(n_classes, _UNSEEN, np.float32)
        all_coef[seen] = coef
        # Spark gives the only class that it saw an infinite intercept.
        all_intercept[seen] = np.nan_to_num(intercept, posinf=-_UNSEEN)
        return cls(all_coef, all_intercept)

    def logits(self, vectors: Floats) -> Floats:
        """Return the (n, n_classes) scores of (n, n_directions) vectors."""
        return np.asarray(vectors @ self.coef.T + self.intercept, np.float32)

    def before(self, projection: Projection) -> Regression:
        """Return the same regression on vectors before `projection`, which is linear too."""
        coef = self.coef.astype(np.float64) @ projection.directions / projection.scale
        intercept = self.intercept - coef @ projection.mean
        return Regression(coef.astype(np.float32), intercept.astype(np.float32))


@dataclass(frozen=True)
class HeldOut:
    """The scores of photos by a regression that was not trained on them: logits (n, n_classes), truth (n,)."""

    logits: Floats
    truth: Ints


class Fitter(Protocol):
    """Fits regressions to the projected vectors."""

    @property
    def projection(self) -> Projection:
        """From the table's vectors to the fitted ones."""

    def folds(self) -> set[int]:
        """Return the folds that occur."""

    def fit(self, regularisation: float) -> Regression:
        """Fit all photos."""

    def hold_out(self, tasks: Sequence[tuple[float, int]]) -> Iterator[HeldOut]:
        """Yield for each (regularisation, fold) the scores of the fold's photos by the fit of the others.

        Only photos of the scheme's sample take part.
        """


class Examples(Protocol):
    """The labelled vectors of a table; rows without a label or vector are left out."""

    @property
    def column(self) -> str:
        """The name of the vectors' column."""

    def count_labels(self) -> dict[str, int]:
        """Return the number of photos of each label."""

    def find_groups(self, pattern: str) -> set[tuple[str, str]]:
        """Return the (label, group) pairs that a pattern finds in the paths."""

    def prepared(self, scheme: Scheme, options: TrainOptions) -> AbstractContextManager[Fitter]:
        """Standardise and project the vectors onto their `n_directions` first principal directions."""


def train(
    examples: Examples,
    options: TrainOptions,
    progress: Progress,
    *,
    network: dict[str, Any],
    earlier: Projection | None = None,
) -> Trained:
    """Train on labelled examples.

    `network` (whose features they are) goes into the classifier; where they are components, `earlier` is the PCA
    they came from. Raises ClassifierError where there is nothing to learn.
    """
    scheme = plan_training(examples, options)
    progress.stage("turn")
    with examples.prepared(scheme, options) as fitter:
        scores = _cross_validate(fitter, options, progress)
        best = min(scores, key=lambda score: (-round(score.accuracy, 4), score.log_loss))
        progress.stage("train")
        regression = fitter.fit(best.regularisation).before(fitter.projection)
    if earlier is not None:
        regression = regression.before(earlier)
    temperature, threshold = calibrate(best.logits, best.truth, options.accuracy)
    probabilities = softmax(best.logits / np.float32(temperature))
    evaluation = evaluate_answers(Answers.of(probabilities, best.truth), scheme.labels, threshold)
    evaluation["cross_validation"] = _describe(scores, best, options)
    about = {"n_photos": scheme.n_photos, "on": examples.column, "regularisation": best.regularisation}
    coef, intercept = regression.coef, regression.intercept
    return Trained(Classifier(scheme.labels, coef, intercept, temperature, threshold, network, about), evaluation)


def plan_training(examples: Examples, options: TrainOptions) -> Scheme:
    """Return the scheme of a training; raises ClassifierError where there are fewer than two labels."""
    counts = examples.count_labels()
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise ClassifierError(f"two labels at least are needed to tell apart; there is {found}")
    pattern = group_pattern(options.group)
    groups = examples.find_groups(pattern) if pattern is not None else set()
    return Scheme(counts, pattern, deal_groups(groups, options.n_folds), options.n_folds)


def criterion_for(moments: Moments, n_directions: int) -> Criterion:
    """Return which principal directions to compute: all that have variance, only the first of wide vectors."""
    if moments.is_wide:
        return Criterion(k=min(n_directions, max_components(moments)))
    return Criterion(variance=1.0)


@dataclass(frozen=True)
class _Score:
    regularisation: float
    logits: Floats
    truth: Ints

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(axis=1) == self.truth).mean())

    @property
    def log_loss(self) -> float:
        return log_loss(softmax(self.logits), self.truth)


def _cross_validate(fitter: Fitter, options: TrainOptions, progress: Progress) -> list[_Score]:
    """Return for every regularisation the scores of each photo by a model that had not seen its fold."""
    folds = sorted(fitter.folds() - {ALWAYS_TRAINED})
    if not folds:
        raise ClassifierError("nothing can be held out: each label has one group only; try --group none")
    tasks = [(regularisation, fold) for regularisation in options.regularisations for fold in folds]
    progress.stage("cross-validate", len(tasks))
    parts: dict[float, list[HeldOut]] = {regularisation: [] for regularisation in options.regularisations}
    for number, (task, part) in enumerate(zip(tasks, fitter.hold_out(tasks), strict=True), 1):
        parts[task[0]].append(part)
        progress.advance(number, 0)
    return [
        _Score(regularisation, np.concatenate([p.logits for p in of]), np.concatenate([p.truth for p in of]))
        for regularisation, of in parts.items()
    ]


def _describe(scores: list[_Score], best: _Score, options: TrainOptions) -> dict[str, Any]:
    return {
        "n_folds": options.n_folds,
        "group": options.group,
        "regularisation": best.regularisation,
        "tried": [
            {"regularisation": s.regularisation, "accuracy": s.accuracy, "log_loss": s.log_loss} for s in scores
        ],
    }
