"""The "Explained variance" section of the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.report.spectrum import Floats, Spectrum
from verger.report.wording import format_count, format_criterion, format_share
from verger.storage.manifest import Manifest

LONG = 60
_DRAWN_AT_MOST = 400
_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Scree:
    """The plot (`curve`, JSON in the page) and the table (`levels`: pairs of a share and the components needed)."""

    n_components: int
    k: int | None
    kept: str | None
    criterion: str | None
    levels: list[tuple[str, str]]
    curve: dict[str, object]


def draw_scree(spectrum: Spectrum, manifest: Manifest) -> Scree:
    """Return the explained variance as plot and table, with the k of the manifest; a long curve is thinned out."""
    n = len(spectrum.components)
    k = _chosen_k(spectrum, manifest)
    criterion = manifest.text("reduction", "criterion")
    drawn = _thin(n, keep=None if k is None else k - 1)
    curve = {
        "component": spectrum.components[drawn].astype(int).tolist(),
        "percent": _percents(spectrum.ratios[drawn]),
        "cumulative": _percents(spectrum.cumulative[drawn]),
        "k": k,
        "kept": None if k is None else round(100 * float(spectrum.cumulative[k - 1]), 2),
        "log": n > LONG,
    }
    return Scree(
        n_components=n,
        k=k,
        kept=None if k is None else format_share(float(spectrum.cumulative[k - 1])),
        criterion=None if criterion is None else format_criterion(criterion),
        levels=_components_needed(spectrum),
        curve=curve,
    )


def _chosen_k(spectrum: Spectrum, manifest: Manifest) -> int | None:
    k = manifest.number("reduction", "n_components")
    return int(k) if k is not None and 1 <= k <= len(spectrum.components) else None


def _thin(n: int, *, keep: int | None) -> npt.NDArray[np.int64]:
    """Return the indices to draw: all indices of a short curve, logarithmically spaced indices of a long curve."""
    if n <= _DRAWN_AT_MOST:
        return np.arange(n)
    sparse = np.geomspace(1, n, _DRAWN_AT_MOST).round().astype(np.int64) - 1
    return np.unique(sparse if keep is None else np.append(sparse, keep))


def _percents(shares: Floats) -> list[float]:
    return [float(f"{100 * share:.4g}") for share in shares]


def _components_needed(spectrum: Spectrum) -> list[tuple[str, str]]:
    """Return (level, number of components needed) for 50%, 80%, ...; levels that are not reached are left out."""
    # The last share may be 0.9999999 due to rounding.
    reached = [int(np.searchsorted(spectrum.cumulative, level - 1e-9)) for level in _LEVELS]
    return [
        (f"{level:.0%}", format_count(spectrum.components[i]))
        for level, i in zip(_LEVELS, reached, strict=True)
        if i < len(spectrum.components)
    ]
