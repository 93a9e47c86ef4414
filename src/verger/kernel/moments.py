"""Count, mean and co-moments of vectors: what PCA needs, in one pass, mergeable in any tree.

Float64 throughout. Merging follows Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm
for Computing Sample Variances" (1979), carried over from variances to co-moments.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.errors import ReductionError

Array = npt.NDArray[np.float64]

# Beyond this width a (d, d) matrix no longer belongs on one machine: 8,192^2 float64 is 0.5 GB.
MAX_EXACT_FEATURES = 8192


@dataclass(frozen=True)
class Moments:
    """n vectors' mean (d,) and m2 = sum of (x - mean)(x - mean)^T, (d, d); m2 is (d,), its diagonal, for wide d."""

    n: int
    mean: Array
    m2: Array

    @property
    def n_features(self) -> int:
        """The vectors' width d."""
        return len(self.mean)

    @property
    def is_wide(self) -> bool:
        """Tell whether only m2's diagonal is held."""
        return self.m2.ndim == 1

    @property
    def variances(self) -> Array:
        """The sample variance of each feature, (d,)."""
        diagonal = self.m2 if self.is_wide else np.diagonal(self.m2)
        return np.maximum(diagonal, 0.0) / max(self.n - 1, 1)

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating]) -> Moments:
        """Return the moments of (n, d) vectors, n >= 1; only m2's diagonal over MAX_EXACT_FEATURES columns."""
        is_wide = vectors.shape[1] > MAX_EXACT_FEATURES
        x = vectors.astype(np.float64)
        mean = x.mean(axis=0)
        x -= mean
        m2 = np.einsum("ij,ij->j", x, x) if is_wide else x.T @ x
        return cls(len(x), mean, m2)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of vectors together; raises ReductionError on unequal widths."""
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
        """Return them as an .npz file's content."""
        buffer = io.BytesIO()
        np.savez(buffer, n=np.int64(self.n), mean=self.mean, m2=self.m2)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """Read what `to_bytes` wrote; raises ReductionError on anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return cls(int(stored["n"]), stored["mean"], stored["m2"])
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise ReductionError(f"not a PCA state written by verger: {error}") from error


def merge_all(parts: list[Moments]) -> Moments:
    """Merge pairwise, in the order given, so that equal parts give equal bits."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [pair[0].merge(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]
