"""Make probabilities honest: temperature scaling, and the threshold under which an answer is "not sure"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Floats, softmax

Labels = npt.NDArray[np.int64]

_TEMPERATURES = np.geomspace(0.05, 20, 400)  # steps of 1.5 %


def calibrate(logits: Floats, truth: Labels, accuracy: float) -> tuple[float, float]:
    """Return the temperature, and the threshold for `accuracy`, of (n, n_classes) logits training did not see."""
    temperature = fit_temperature(logits, truth)
    return temperature, choose_threshold(softmax(logits / np.float32(temperature)), truth, accuracy)


def fit_temperature(logits: Floats, truth: Labels) -> float:
    """Return the temperature with the least log loss on (n, n_classes) logits that training did not see.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    losses = [log_loss(softmax(logits / np.float32(t)), truth) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def log_loss(probabilities: Floats, truth: Labels) -> float:
    """Return the mean negative log-likelihood of the true labels."""
    true = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def choose_threshold(probabilities: Floats, truth: Labels, accuracy: float) -> float:
    """Return the lowest probability from which on answers are right at least `accuracy` of the time.

    0 where all answers together are that good; where even the surest are not, just above the surest wrong one.
    """
    sure = probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    sure = sure[order]
    is_right = probabilities.argmax(axis=1)[order] == truth[order]
    right_so_far = np.cumsum(is_right) / np.arange(1, len(truth) + 1)
    ends_a_tie = np.append(sure[1:] < sure[:-1], True)
    good = np.flatnonzero((right_so_far >= accuracy) & ends_a_tie)
    if not len(good):
        return float(np.nextafter(sure[0], np.float32(2)))
    return 0.0 if good[-1] == len(truth) - 1 else float(sure[good[-1]])
