"""The map of photos in the report: a scatter plot of the photos' first principal components."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.report.spectrum import Spectrum
from verger.report.wording import format_share
from verger.storage.arrow import hashes, numbers_of
from verger.storage.hashing import hash_to_integer
from verger.storage.tables import Table, open_table, read_batches
from verger.storage.uri import AnyPath

MAX_POINTS = 5000
MAX_AXES = 4

# A function that gets the paths of photos, and returns for each photo the data URI of its thumbnail, or None.
MakeThumbnails = Callable[[Sequence[str]], list[str | None]]


@dataclass(frozen=True)
class MapSample:
    """Photos selected for the map. axes: their first components, at most MAX_AXES of `k`: (n, n_axes) float32."""

    n_photos: int
    k: int
    paths: list[str]
    labels: list[str | None]
    axes: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scatter:
    """The map; `points` is written to the page as JSON."""

    n_photos: int
    n_points: int
    n_thumbnails: int
    k: int
    axes: list[str]
    points: dict[str, object]


def draw_scatter(
    result: AnyPath, spectrum: Spectrum | None, make_thumbnails: MakeThumbnails, *, max_points: int = MAX_POINTS
) -> Scatter | None:
    """Return the map of at most `max_points` photos; None if there are no components."""
    table = open_table(result, "components")
    sample = None if table is None else sample_points(table, max_points)
    if sample is None:
        return None
    thumbnails = make_thumbnails(sample.paths)
    # Unlabelled photos are last in the legend.
    legend = sorted(set(sample.labels), key=lambda label: (label is None, label or ""))
    number_of = {label: i for i, label in enumerate(legend)}
    axes = _name_axes(sample.axes.shape[1], spectrum)
    points = {
        "axes": axes,
        "values": [[_four_digits(value) for value in column] for column in sample.axes.T],
        "labels": legend,
        "label": [number_of[label] for label in sample.labels],
        "name": _shorten(sample.paths),
        "thumbnail": thumbnails,
    }
    n_thumbnails = len(thumbnails) - thumbnails.count(None)
    return Scatter(sample.n_photos, len(sample.paths), n_thumbnails, sample.k, axes, points)


def sample_points(table: Table, limit: int) -> MapSample | None:
    """Return the `limit` photos with the lowest hashes of their paths, independent of the order of the rows.

    Reads the table once, with at most `limit` rows and one batch in memory. Returns None if the table is empty.
    """
    n_photos, k = 0, 0
    kept: pa.Table | None = None
    for batch in read_batches(table, ["path", "label", "components"]):
        batch = batch.filter(pc.and_(pc.is_valid(batch["path"]), pc.is_valid(batch["components"])))
        n_photos += batch.num_rows
        k = max(k, pc.max(pc.list_value_length(batch["components"])).as_py() or 0)
        found = _with_order(batch)
        if kept is not None and kept.num_rows == limit:  # remove nearly all rows before they are sorted, for speed
            found = found.filter(pc.less_equal(found["order"], kept["order"][-1]))
        both = found if kept is None else pa.concat_tables([kept, found])
        kept = both.sort_by([("order", "ascending"), ("path", "ascending")]).slice(0, limit)
    if kept is None or not kept.num_rows or not k:
        return None
    values = numbers_of(pc.list_flatten(kept["components"])).reshape(-1, MAX_AXES)
    return MapSample(
        n_photos=n_photos,
        k=k,
        paths=kept["path"].to_pylist(),
        labels=kept["label"].to_pylist(),
        axes=values[:, : min(k, MAX_AXES)],
    )


def _with_order(batch: pa.Table) -> pa.Table:
    """Add a column with the hash of the path, and keep MAX_AXES components; missing components are null."""
    orders = [hash_to_integer(path) for path in batch["path"].to_pylist()]
    components = pc.list_slice(batch["components"], 0, MAX_AXES, return_fixed_size_list=True)
    columns = {"path": batch["path"], "label": batch["label"], "components": components}
    return pa.table(columns | {"order": hashes(orders)})


def _name_axes(n_axes: int, spectrum: Spectrum | None) -> list[str]:
    """Return "PC1 (12.3% of the variance)", ...; without a spectrum only "PC1", ..."""
    names = [f"PC{i + 1}" for i in range(n_axes)]
    if spectrum is None or len(spectrum.ratios) < n_axes:
        return names
    shares = [format_share(float(ratio)) for ratio in spectrum.ratios[:n_axes]]
    return [f"{name} ({share} of the variance)" for name, share in zip(names, shares, strict=True)]


def _four_digits(value: np.float32) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None  # JSON has no NaN


def _shorten(paths: list[str]) -> list[str]:
    """Remove the folder that all paths have in common: it does not help the reader, and may be private."""
    # The common prefix of all paths is that of the first and the last path in sorted order.
    shared = os.path.commonprefix([min(paths), max(paths)])
    return [path[shared.rfind("/") + 1 :] for path in paths]
