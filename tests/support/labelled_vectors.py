"""Results of `verger features` with synthetic vectors that cluster by label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.kernel.classifier.classifier import Floats
from verger.kernel.moments import Moments
from verger.kernel.pca import Criterion, Projection, fit_exact
from verger.pipeline.pca_folder import write_pca_model

N_FEATURES = 12
KINDS = ("Apple", "Pear", "Plum")
SPEC = {"model": "MobileNetV2", "weights": "random:0", "pooling": "avg", "precision": "f32", "preprocessing": None}


def make_result(
    folder: Path,
    *,
    noise: float = 0.4,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
    width: int = N_FEATURES,
    n_photos: int = 10,
) -> Path:
    """A result of `verger features` whose vectors cluster by label, each label in four films."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(0, 1, (len(kinds), width))
    rows: list[dict[str, Any]] = [
        {
            "path": f"file:/photos/{kind}/{axis}{n}_100.jpg",
            "label": kind,
            "features": (centres[k] * 3 + 5 + rng.normal(0, noise, width)).astype(np.float32),
        }
        for k, kind in enumerate(kinds)
        for axis in ("", "r_", "r2_", "r3_")
        for n in range(n_photos + n_photos * k // 2)
    ]
    rows.insert(3, {"path": "file:/photos/x.jpg", "label": None, "features": np.zeros(width, np.float32)})
    rows.insert(70, {"path": "file:/photos/Pear/y.jpg", "label": "Pear", "features": None})
    write_vectors(folder / "features", rows, "features")
    (folder / "manifest.json").write_text(json.dumps({"network": {"spec": SPEC}}))
    return folder


def write_vectors(folder: Path, rows: Sequence[dict[str, Any]], column: str) -> None:
    """A table in two files."""
    folder.mkdir(parents=True)
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), (column, pa.list_(pa.float32()))])
    for number, part in enumerate((rows[:50], rows[50:])):
        pq.write_table(pa.Table.from_pylist(list(part), schema), folder / f"part-{number}.parquet")


def labelled(result: Path, column: str = "features") -> tuple[Floats, list[str]]:
    rows = pq.read_table(result / column).to_pylist()
    rows = [row for row in rows if row["label"] is not None and row[column] is not None]
    return np.array([row[column] for row in rows], np.float32), [row["label"] for row in rows]


def fitted_pca(vectors: Floats) -> tuple[Projection, Moments]:
    moments = Moments.from_vectors(vectors)
    return fit_exact(moments, Criterion(k=6), standardize=True), moments


def make_components(result: Path) -> None:
    vectors, labels = labelled(result)
    projection, moments = fitted_pca(vectors)
    write_pca_model(result / "model" / "pca", projection, moments)
    paths = [
        row["path"] for row in pq.read_table(result / "features").to_pylist() if row["label"] and row["features"]
    ]
    rows = [
        {"path": path, "label": label, "components": components}
        for path, label, components in zip(paths, labels, projection(vectors), strict=True)
    ]
    write_vectors(result / "components", rows, "components")
