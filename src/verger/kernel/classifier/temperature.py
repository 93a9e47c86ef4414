"""Calibration of a classifier: the temperature, and the thresholds for species and varieties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Floats, softmax
from verger.kernel.classifier.levels import Levels

Labels = npt.NDArray[np.int64]

_TEMPERATURES = np.geomspace(0.05, 20, 400)  # steps of 1.5 %


@dataclass(frozen=True)
class Calibration:
    """The temperature of a classifier, and its thresholds (see Classifier)."""

    temperature: float
    threshold: float
    variety_threshold: float


def calibrate(logits: Floats, truth: Labels, accuracy: float, levels: Levels) -> Calibration:
    """Fit the temperature and the thresholds on (n, n_labels) held-out logits of photos with these true labels.

    accuracy: the share of right answers that the thresholds must reach: among the named species, and among the
        named varieties of right species that have several varieties.
    """
    temperature = fit_temperature(logits, truth, levels)
    ranked = levels.rank(softmax(logits / np.float32(temperature)))
    is_right = ranked.best == levels.species_of[truth]
    threshold = choose_threshold(ranked.share[ranked.is_fruit], is_right[ranked.is_fruit], accuracy)
    # With a single variety the share is always 1, and the answer always right.
    has_choice = (levels.n_varieties[ranked.best] > 1) & ~levels.is_general[truth]
    is_named = ranked.is_fruit & (ranked.share >= threshold) & (ranked.variety_share >= 0)
    rows = is_right & is_named & has_choice
    is_variety_right = (ranked.variety == truth)[rows]
    return Calibration(
        temperature, threshold, choose_threshold(ranked.variety_share[rows], is_variety_right, accuracy)
    )


def fit_temperature(logits: Floats, truth: Labels, levels: Levels) -> float:
    """Return the temperature with the lowest log loss on (n, n_labels) held-out logits.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599. If a true label is general, the
    loss is that of the species.
    """
    losses = [_loss(softmax(logits / np.float32(t)), truth, levels) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _loss(probabilities: Floats, truth: Labels, levels: Levels) -> float:
    if not levels.is_general.any():
        return log_loss(probabilities, truth)
    rows = np.arange(len(truth))
    of_label = levels.label_probabilities(probabilities)[rows, truth]
    of_species = levels.species_probabilities(probabilities)[rows, levels.species_of[truth]]
    return _mean_loss(np.where(levels.is_general[truth], of_species, of_label))


def log_loss(probabilities: Floats, truth: Labels) -> float:
    """Return the mean negative log-likelihood of the true labels."""
    return _mean_loss(probabilities[np.arange(len(truth)), truth])


def _mean_loss(likelihoods: Floats) -> float:
    return float(-np.log(np.maximum(likelihoods, 1e-12)).mean())


def choose_threshold(confidence: Floats, is_right: npt.NDArray[np.bool_], accuracy: float) -> float:
    """Return the lowest threshold such that the answers with this confidence or more have at least this accuracy.

    The threshold is 0 if all answers together have this accuracy, or if there are none. If no threshold has this
    accuracy, the result is one float32 step above the highest confidence, so that no answer reaches the threshold.
    """
    if not len(confidence):
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    confidence, is_right = confidence[order], is_right[order]
    running_accuracy = np.cumsum(is_right) / np.arange(1, len(is_right) + 1)
    ends_a_tie = np.append(confidence[1:] < confidence[:-1], True)
    good = np.flatnonzero((running_accuracy >= accuracy) & ends_a_tie)
    if not len(good):
        return float(np.nextafter(np.float32(confidence[0]), np.float32(2)))
    return 0.0 if good[-1] == len(confidence) - 1 else float(confidence[good[-1]])
