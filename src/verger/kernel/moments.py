"""Moments of feature vectors (count, mean, co-moments), from which PCA is computed.

They are computed in one pass over the vectors. Moments of several sets can be merged. All numbers are float64.

Merging follows Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm
for Computing Sample Variances" (1979), extended from variances to co-moments.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.errors import ReductionError

Array = npt.NDArray[np.float64]

# For wider vectors the (d, d) matrix of `m2` would have more than 0.5 GB (8,192 x 8,192 float64).
MAX_EXACT_FEATURES = 8192


@dataclass(frozen=True)
class Moments:
    """Moments of n vectors.

    mean: (d,). m2: (d, d), the sum of (x - mean)(x - mean)^T; if `is_wide` only the diagonal of this matrix, (d,).
    """

    n: int
    mean: Array
    m2: Array

    @property
    def n_features(self) -> int:
        """The length d of the vectors."""
        return len(self.mean)

    @property
    def is_wide(self) -> bool:
        """Whether m2 is stored as its diagonal only."""
        return self.m2.ndim == 1

    @property
    def variances(self) -> Array:
        """The sample variance of each feature, (d,)."""
        diagonal = self.m2 if self.is_wide else np.diagonal(self.m2)
        return np.maximum(diagonal, 0.0) / max(self.n - 1, 1)

    @classmethod
    def from_vectors(cls, vectors: npt.NDArray[np.floating]) -> Moments:
        """Compute the moments of (n, d) vectors, n >= 1; only the diagonal of m2 if d > MAX_EXACT_FEATURES."""
        is_wide = vectors.shape[1] > MAX_EXACT_FEATURES
        x = vectors.astype(np.float64)
        mean = x.mean(axis=0)
        x -= mean
        m2 = np.einsum("ij,ij->j", x, x) if is_wide else x.T @ x
        return cls(len(x), mean, m2)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of vectors together; raises ReductionError if the widths differ."""
        if self.n_features != other.n_features:
            raise ReductionError(
                f"feature vectors of {self.n_features} and of {other.n_features} columns cannot be reduced "
                "together: they come from different networks"
            )
        n = self.n + other.n
        step = other.mean - self.mean
        weight = self.n * other.n / n
        between = step * step if self.is_wide else np.outer(step, step)
        return Moments(n, self.mean + step * (other.n / n), self.m2 + other.m2 + weight * between)

    def to_bytes(self) -> bytes:
        """Serialize as the content of an .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, n=np.int64(self.n), mean=self.mean, m2=self.m2)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """Deserialize what `to_bytes` wrote; raises ReductionError on anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return cls(int(stored["n"]), stored["mean"], stored["m2"])
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise ReductionError(f"not a PCA state written by verger: {error}") from error


def merge_all(parts: list[Moments]) -> Moments:
    """Merge moments pairwise in the given order: the same parts always give the same bits."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [pair[0].merge(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]
