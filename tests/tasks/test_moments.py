"""PCA by tasks, on files: the same as by the PCA stage on a DataFrame, nulls and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from tests.support.chain import manifest_here, table
from verger.errors import SourceError
from verger.spark_ml.pca_stage import PCA, PCAModel
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts

N_FILES, N_ROWS, N_NULLS = 5, 1300, 13


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Five files of 1,300 vectors each, more than a task takes at a time; every hundredth is null."""
    folder = tmp_path / "features"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(N_FILES):
        vectors: list[Any] = list(
            rng.normal(size=(N_ROWS, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
        )
        vectors[::100] = [None] * N_NULLS
        columns = {
            "path": [f"file:/photos/{number}-{i:04d}.jpg" for i in range(N_ROWS)],
            "label": ["kiwi", None] * (N_ROWS // 2),
            "features": pa.array(vectors, pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    return folder


@pytest.mark.core
@pytest.mark.parametrize("engine", ["local", "spark"])
def test_files_give_what_the_stage_gives_on_a_dataframe(
    spark: SparkSession, features: Path, tmp_path: Path, engine: str
) -> None:
    manifest = manifest_here("reduce", features, "out", "--components", 3, cwd=tmp_path, engine=engine)
    assert manifest["reduction"]["n_samples"] == N_FILES * (N_ROWS - N_NULLS)
    frame = spark.read.parquet(str(features))
    stage = PCA(k=3).fit(frame)
    ours = PCAModel.load(str(tmp_path / "out" / "model" / "pca"))
    np.testing.assert_allclose(ours.projection.directions, stage.projection.directions, atol=1e-5)
    np.testing.assert_allclose(ours.explained_variance_ratio_, stage.explained_variance_ratio_, atol=1e-5)

    written = table(tmp_path / "out" / "components").to_pylist()
    rows = stage.transform(frame).select("path", "label", "components").orderBy("path").collect()
    assert len(written) == len(rows) == N_FILES * N_ROWS
    assert [(row["path"], row["label"]) for row in written] == [row[:2] for row in rows]
    for one, (_, _, other) in zip((row["components"] for row in written), rows, strict=True):
        assert (one is None) == (other is None)
        assert one is None or np.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"features": ["a", "b"]}, "features are string"),
        ({"features": [1.0, 2.0]}, "features are double"),
        ({}, "no column features"),
    ],
)
def test_tables_that_are_no_features_are_refused_with_what_they_lack(
    tmp_path: Path, column: dict[str, list[Any]], message: str
) -> None:
    pq.write_table(pa.table({"path": ["a", "b"], "label": ["x", "y"], **column}), tmp_path / "0.parquet")
    with pytest.raises(SourceError, match=message):
        list_parts(parquet_files(tmp_path), "features")
