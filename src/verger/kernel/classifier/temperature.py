"""Calibration of probabilities: the temperature, and the threshold below which an answer is "not sure"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Floats, softmax

Labels = npt.NDArray[np.int64]

_TEMPERATURES = np.geomspace(0.05, 20, 400)  # steps of 1.5 %


def calibrate(logits: Floats, truth: Labels, accuracy: float) -> tuple[float, float]:
    """Return the temperature, and the threshold that gives `accuracy`, fitted on (n, n_classes) held-out logits."""
    temperature = fit_temperature(logits, truth)
    return temperature, choose_threshold(softmax(logits / np.float32(temperature)), truth, accuracy)


def fit_temperature(logits: Floats, truth: Labels) -> float:
    """Return the temperature with the lowest log loss on (n, n_classes) held-out logits.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    losses = [log_loss(softmax(logits / np.float32(t)), truth) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def log_loss(probabilities: Floats, truth: Labels) -> float:
    """Return the mean negative log-likelihood of the true labels."""
    true = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def choose_threshold(probabilities: Floats, truth: Labels, accuracy: float) -> float:
    """Return the lowest threshold such that the answers above it have at least this accuracy.

    The threshold is 0 if all answers together have this accuracy. If no threshold reaches this accuracy, the result
    is the highest probability plus one float32 step, so that no answer is above the threshold.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    is_right = probabilities.argmax(axis=1)[order] == truth[order]
    running_accuracy = np.cumsum(is_right) / np.arange(1, len(truth) + 1)
    ends_a_tie = np.append(confidence[1:] < confidence[:-1], True)
    good = np.flatnonzero((running_accuracy >= accuracy) & ends_a_tie)
    if not len(good):
        return float(np.nextafter(confidence[0], np.float32(2)))
    return 0.0 if good[-1] == len(truth) - 1 else float(confidence[good[-1]])
