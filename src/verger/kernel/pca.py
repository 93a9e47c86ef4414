"""PCA from moments, with numpy only.

Differences from Spark ML's PCA: vectors are centred before they are projected; the number of components can be
given as a share of variance; the variances of all components are kept; and the sign of each component is fixed (its
largest loading is positive, as with scikit-learn's `svd_flip`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from verger.errors import ReductionError, SettingsError
from verger.kernel.moments import Array, Moments

# Up to this width one thread computes the eigenvectors (0.6 s for 1,280 features). More threads are hardly faster
# on an idle machine and several times slower on a busy one, and the number of threads changes the last bits.
_MAX_SERIAL_FEATURES = 2048


@dataclass(frozen=True)
class Criterion:
    """How many components to keep: `k`, or the smallest number that explains `variance`, a share of the total."""

    k: int | None = None
    variance: float | None = None

    def __post_init__(self) -> None:
        if (self.k is None) == (self.variance is None):
            raise SettingsError("k, variance", (self.k, self.variance), "exactly one of the two")
        if self.k is not None and self.k < 1:
            raise SettingsError("k", self.k, "a whole number from 1")
        if self.variance is not None and not 0 < self.variance <= 1:
            raise SettingsError("variance", self.variance, "a share over 0 and up to 1")

    def __str__(self) -> str:
        return f"k = {self.k}" if self.k is not None else f"variance >= {self.variance:g}"


@dataclass(frozen=True)
class Projection:
    """A fitted PCA: components = (x - mean) / scale @ directions.T.

    mean, scale: (d,).
    directions: (k, d), orthonormal rows.
    explained_variance: eigenvalues, largest first. An exact fit has all min(n - 1, d) eigenvalues, a randomized fit
    only those of the sketch.
    total_variance: the sum of all eigenvalues, including those that were not computed.
    residual: error of a randomized fit: the largest |C v - lambda v| of the kept components, divided by the largest
    lambda. 0 for an exact fit.
    """

    n: int
    mean: Array
    scale: Array
    directions: Array
    explained_variance: Array
    total_variance: float
    residual: float = 0.0

    @property
    def k(self) -> int:
        """The number of components kept."""
        return len(self.directions)

    @property
    def explained_variance_ratio(self) -> Array:
        """Each component's share of the total variance, including components that are not kept."""
        return self.explained_variance / self.total_variance

    @property
    def variance_kept(self) -> float:
        """The share of the total variance that the kept components explain together."""
        return float(self.explained_variance_ratio[: self.k].sum())

    @property
    def method(self) -> str:
        """How the PCA was fitted: "exact" or "randomized"."""
        return "randomized" if self.residual else "exact"

    def __call__(self, vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return the (n, k) components of (n, d) vectors."""
        if vectors.shape[1] != len(self.mean):
            raise ReductionError(
                f"this PCA was fitted on {len(self.mean)} columns; the vectors have {vectors.shape[1]}"
            )
        return (((vectors - self.mean) / self.scale) @ self.directions.T).astype(np.float32)

    def to_bytes(self) -> bytes:
        """Serialize as the content of an .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in self.__dataclass_fields__})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Projection:
        """Deserialize what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            values = {name: stored[name] for name in cls.__dataclass_fields__}
        for name, kind in (("n", int), ("total_variance", float), ("residual", float)):
            values[name] = kind(values[name])
        return cls(**values)


def fit_exact(moments: Moments, criterion: Criterion, *, standardize: bool = False) -> Projection:
    """Fit a PCA to the vectors that have these moments; raises ReductionError if `check_fit` does.

    standardize: divide each feature by its standard deviation. This needs no second pass over the vectors, because
    the correlation matrix is D^-1/2 C D^-1/2 (C: covariance matrix, D: its diagonal).
    """
    check_fit(moments, criterion)
    scale = feature_scales(moments, standardize=standardize)
    covariance = moments.m2 / (moments.n - 1) / np.outer(scale, scale)
    n_threads = 1 if moments.n_features <= _MAX_SERIAL_FEATURES else None
    with threadpool_limits(n_threads, user_api="blas"):
        values, vectors = np.linalg.eigh(covariance)
    rank = max_components(moments)
    values = np.maximum(values[::-1][:rank], 0.0)
    total = float(np.trace(covariance))
    k = choose_k(values / total, criterion)
    return Projection(moments.n, moments.mean, scale, fix_signs(vectors[:, ::-1][:, :k].T), values, total)


def check_fit(moments: Moments, criterion: Criterion) -> None:
    """Raise ReductionError if a PCA with this criterion cannot be fitted to these moments."""
    if moments.n < 2:
        raise ReductionError(f"PCA needs two photos or more, but there are {moments.n}")
    if not np.isfinite(moments.mean).all():
        raise ReductionError("the features contain NaN or infinity: check the weights of the network")
    if not moments.variances.any():
        raise ReductionError("all feature vectors are equal: there is no variance to explain")
    if criterion.k is not None and criterion.k > max_components(moments):
        raise ReductionError(
            f"components = {criterion.k} is too large: {moments.n} photos of {moments.n_features} features "
            f"have at most {max_components(moments)} components"
        )


def max_components(moments: Moments) -> int:
    """Return the largest possible number of components with non-zero variance."""
    return min(moments.n - 1, moments.n_features)


def feature_scales(moments: Moments, *, standardize: bool) -> Array:
    """Return the divisor of each feature: 1, or with `standardize` the sample standard deviation if it is not 0."""
    if not standardize:
        return np.ones(moments.n_features)
    deviations = np.sqrt(moments.variances)
    return np.where(deviations > 0, deviations, 1.0)


def choose_k(ratio: Array, criterion: Criterion) -> int:
    """Return the number of components to keep. ratio: each component's share of the variance."""
    if criterion.k is not None:
        return criterion.k
    assert criterion.variance is not None
    reached = np.cumsum(ratio) >= criterion.variance - 1e-12
    return int(np.argmax(reached)) + 1 if reached.any() else len(ratio)


def fix_signs(directions: Array) -> Array:
    """Return the rows with signs such that in each row the entry of largest magnitude is positive."""
    largest = np.argmax(np.abs(directions), axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    return np.ascontiguousarray(directions * signs[:, None])
