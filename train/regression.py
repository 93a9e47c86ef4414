"""The weighted softmax regression of the bundled classifiers."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from train.examples import Table
from verger.kernel.classifier.levels import NOT_A_FRUIT
from verger.kernel.classifier.transforms import SIGNED_SQRT, transform
from verger.learn.train import Regression

_N_DIRECTIONS = 640
_REGULARISATION = 0.05  # scikit-learn's C
_MAX_ITERATIONS = 80
# How much an example counts, by its kind.
_KIND_WEIGHTS = {"photo": 1.0, "crop": 0.3}
# The weight of a label grows with the root of the weight of its examples, up to this.
_FULL_LABEL = 60.0
_NOT_A_FRUIT = 2.0  # times this weight: many different things have this label


def fit_regression(table: Table, rows: npt.NDArray[np.bool_]) -> Regression:
    """Fit on these rows of a table; the regression is for transformed vectors, and has all labels of the table."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    vectors = transform(SIGNED_SQRT, table.vectors[rows]).astype(np.float64)
    names, number = np.unique(table.column("label"), return_inverse=True)
    labels = number[rows]
    weights = np.array([_KIND_WEIGHTS[kind] for kind in table.column("kind")[rows]])
    mean = vectors.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((vectors - mean).T))
    directions = directions[:, ::-1][:, :_N_DIRECTIONS]
    projected = (vectors - mean) @ directions
    scale = projected.std()
    estimator = LogisticRegression(C=_REGULARISATION, max_iter=_MAX_ITERATIONS, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is limited on purpose
        estimator.fit((projected / scale).astype(np.float32), labels, label_weights(names[labels], weights))
    coef = estimator.coef_ @ (directions / scale).T
    intercept = estimator.intercept_ - coef @ mean
    return Regression.of_seen(coef, intercept, estimator.classes_, len(names))


def label_weights(labels: npt.NDArray[np.str_], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return weights with the mean 1, such that a label with many examples counts less than in proportion."""
    _, number = np.unique(labels, return_inverse=True)
    total = np.bincount(number, weights)
    weights = weights / total[number] * np.sqrt(np.minimum(total[number], _FULL_LABEL))
    weights = np.where(labels == NOT_A_FRUIT, _NOT_A_FRUIT, 1.0) * weights
    return np.asarray(weights / weights.mean())
