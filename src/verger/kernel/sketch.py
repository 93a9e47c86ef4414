"""Randomized PCA of wide vectors (flattened VGG16: 25,088 columns), without computing their covariance matrix.

Subspace iteration with a random start (Halko, Martinsson and Tropp, "Finding Structure with Randomness", 2011,
arXiv:0909.4061, algorithms 4.4 and 5.3). It needs only products of the covariance C with (d, l) matrices; each
product is one pass over the vectors. The total variance is exact, because it comes from the moments. The error
|C v - lambda v| of the components is computed too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from verger.errors import ReductionError
from verger.kernel.moments import Array, Moments
from verger.kernel.pca import Criterion, Projection, check_fit, choose_k, feature_scales, fix_signs, max_components

OVERSAMPLING = 16
N_ITERATIONS = 4
# The number of components to compute if a share of variance is requested, not a number of components.
MAX_COMPONENTS = 512

# (mean, scale, basis (d, l)) -> sum over vectors of z (z^T basis), z = (x - mean) / scale; (d, l)
Product = Callable[[Array, Array, Array], Array]


def product_part(vectors: npt.NDArray[np.floating], mean: Array, scale: Array, basis: Array) -> Array:
    """Return the contribution of one batch to `Product`, (d, l). vectors: (n, d). basis: (d, l)."""
    z = (vectors - mean) / scale
    part: Array = z.T @ (z @ basis)
    return part


def add_products(parts: list[bytes]) -> bytes:
    """Return the sum of contributions to a `Product`, added in the given order; all are float64 arrays as bytes."""
    total: Array = np.sum([np.frombuffer(part) for part in parts], axis=0)
    return total.tobytes()


def fit_randomized(
    moments: Moments, criterion: Criterion, product: Product, *, standardize: bool = False, seed: int = 0
) -> Projection:
    """Fit a PCA to the vectors that have these moments, with `product` instead of the covariance matrix.

    Raises ReductionError if `criterion` requires more components than the sketch computes.
    """
    check_fit(moments, criterion)
    scale = feature_scales(moments, standardize=standardize)
    total = float((moments.variances / scale**2).sum())
    width = min((criterion.k or MAX_COMPONENTS) + OVERSAMPLING, max_components(moments))
    basis = np.random.default_rng(seed).standard_normal((moments.n_features, width))
    for _ in range(N_ITERATIONS):
        basis, _ = np.linalg.qr(product(moments.mean, scale, basis))
    image = product(moments.mean, scale, basis) / (moments.n - 1)
    values, directions, residuals = _rayleigh_ritz(basis, image)
    _check_variance(values.sum() / total, criterion, width, moments)
    k = choose_k(values / total, criterion)
    return Projection(
        moments.n,
        moments.mean,
        scale,
        fix_signs(directions[:k]),
        values,
        total,
        residual=max(float(residuals[:k].max() / values[0]), np.finfo(float).tiny),
    )


def _rayleigh_ritz(basis: Array, image: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues (l,), unit eigenvectors (l, d) and residual norms (l,) of C within span(basis)."""
    small = basis.T @ image
    values, rotation = np.linalg.eigh((small + small.T) / 2)
    values, rotation = np.maximum(values[::-1], 0.0), rotation[:, ::-1]
    directions = basis @ rotation
    residuals = np.linalg.norm(image @ rotation - directions * values, axis=0)
    return values, directions.T, residuals


def _check_variance(reached: float, criterion: Criterion, width: int, moments: Moments) -> None:
    if criterion.variance is None or reached >= criterion.variance or width == max_components(moments):
        return
    raise ReductionError(
        f"{width} components of {moments.n_features} columns explain {reached:.3f} of the variance, but "
        f"{criterion.variance:g} is required: use --components {width - OVERSAMPLING} or fewer, a smaller "
        "--variance, or --pooling avg, which gives narrow vectors that are reduced exactly"
    )
