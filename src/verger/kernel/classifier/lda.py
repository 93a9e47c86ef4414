"""Linear discriminant analysis with shrinkage, computed from moments of each class.

All classes have the same covariance, and vectors of class c are normally distributed about mean_c. Then the
logarithm of p(c | x) is, up to a constant, the linear function

    x . inverse(S) mean_c - mean_c . inverse(S) mean_c / 2 + log prior_c
    S = (1 - shrinkage) W + shrinkage trace(W) / d I

W is the pooled within-class scatter divided by the number of vectors. scikit-learn's
`LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...)` instead weights the covariance of each class by the prior
of this class. Both are equal if the priors are the shares of the classes (`empirical`, scikit-learn's default). For
other priors W stays the same here, so that the moments need one matrix, and not one per class.

Moments of several sets of vectors are merged as in `kernel.moments`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import ClassifierError
from verger.kernel.moments import Array

Ints = npt.NDArray[np.int64]

EMPIRICAL, UNIFORM = "empirical", "uniform"


@dataclass(frozen=True)
class ClassMoments:
    """Moments of labelled vectors.

    n: the number of vectors of each class, (n_classes,). mean: of each class, (n_classes, d); zeros if n is 0.
    scatter: (d, d), the sum over all vectors of (x - mean of its class)(x - mean of its class)^T.
    """

    n: Ints
    mean: Array
    scatter: Array

    @classmethod
    def from_vectors(cls, vectors: npt.NDArray[Any], classes: Ints, n_classes: int) -> ClassMoments:
        """Compute the moments of (n, d) vectors, n >= 1, with class numbers (n,) from 0 to n_classes - 1."""
        order = np.argsort(classes, kind="stable")
        x = vectors[order].astype(np.float64)
        n = np.bincount(classes, minlength=n_classes)
        present = np.flatnonzero(n)
        starts = np.cumsum(n[present]) - n[present]
        mean = np.zeros((n_classes, x.shape[1]))
        mean[present] = np.add.reduceat(x, starts, axis=0) / n[present, None]
        x -= mean[classes[order]]
        return cls(n, mean, x.T @ x)

    def merge(self, other: ClassMoments) -> ClassMoments:
        """Return the moments of both sets of vectors together; raises ClassifierError if the widths differ."""
        if self.mean.shape != other.mean.shape:
            raise ClassifierError(
                f"feature vectors of {self.mean.shape[1]} and of {other.mean.shape[1]} columns cannot be used "
                "together: they come from different networks"
            )
        n = self.n + other.n
        total = np.maximum(n, 1)
        step = other.mean - self.mean
        in_both = np.flatnonzero(self.n * other.n)
        weight = self.n[in_both] * other.n[in_both] / total[in_both]
        weighted = np.sqrt(weight)[:, None] * step[in_both]
        mean = self.mean + step * (other.n / total)[:, None]
        return ClassMoments(n, mean, self.scatter + other.scatter + weighted.T @ weighted)

    def to_bytes(self) -> bytes:
        """Serialize as the content of an .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, n=self.n, mean=self.mean, scatter=self.scatter)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> ClassMoments:
        """Deserialize what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return cls(stored["n"], stored["mean"], stored["scatter"])


def fit_lda(moments: ClassMoments, shrinkage: float, priors: str = UNIFORM) -> tuple[Array, Array]:
    """Return coef (n_classes, d) and intercept (n_classes,) of the discriminants; 0 < shrinkage <= 1.

    priors: UNIFORM for equal ones, EMPIRICAL for the share of each class. A class without vectors gets an intercept
    of minus infinity, that is the probability 0. Raises ClassifierError if no class has two different vectors.
    """
    present = np.flatnonzero(moments.n)
    n, means = moments.n[present], moments.mean[present]
    covariance = moments.scatter / n.sum()
    d = len(covariance)
    variance = np.trace(covariance) / d
    if not variance > 0:
        raise ClassifierError(
            "lda needs at least one label with two different photos: all vectors of each label are equal"
        )
    covariance *= 1 - shrinkage
    covariance[np.diag_indices(d)] += shrinkage * variance
    solved = np.linalg.solve(covariance, means.T).T
    shares = n / n.sum() if priors == EMPIRICAL else np.full(len(n), 1 / len(n))
    coef = np.zeros_like(moments.mean)
    intercept = np.full(len(moments.n), -np.inf)
    coef[present] = solved
    intercept[present] = np.log(shares) - (means * solved).sum(axis=1) / 2
    return coef, intercept
