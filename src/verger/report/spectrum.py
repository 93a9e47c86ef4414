"""Read the explained variance of all components. The scree plot and the axes of the map show it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.errors import ResultError
from verger.storage.uri import AnyPath

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Numbers of the components (from 1), their shares of the variance (0 to 1), and the cumulative shares."""

    components: Floats
    ratios: Floats
    cumulative: Floats


def read_spectrum(result: AnyPath) -> Spectrum | None:
    """Read `model/spectrum.csv`; return None if the file is missing. Raises ResultError if it is not valid."""
    path = result / "model" / "spectrum.csv"
    columns = ("component", "explained_variance_ratio", "cumulative_ratio")
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        rows = [[float(row[column]) for column in columns] for row in lines]
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path} must be a CSV with numbers in the columns {', '.join(columns)}: {error!r}"
        ) from error
    table = np.array(rows, dtype=np.float64).reshape(-1, len(columns))
    table = table[np.isfinite(table).all(axis=1)]
    return Spectrum(table[:, 0], table[:, 1], table[:, 2]) if len(table) else None
