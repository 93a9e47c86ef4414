"""PCA on files that the workers read: the same as on a DataFrame, nulls and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from tests.chain import verger

from verger.reduce.pca import Criterion
from verger.reduce.spark import PCAModel, Vectors, fit_projection, project_files


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Five files of 1,300 vectors each, more than a worker takes at a time; every hundredth is null."""
    rng = np.random.default_rng(0)
    for number in range(5):
        vectors: list[Any] = list(rng.normal(size=(1300, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32))
        vectors[::100] = [None] * 13
        paths = [f"file:/photos/{number}-{i}.jpg" for i in range(1300)]
        columns = {
            "path": paths,
            "label": ["kiwi", None] * 650,
            "features": pa.array(vectors, pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
    return tmp_path


@pytest.mark.core
def test_files_give_the_components_of_a_dataframe(spark: SparkSession, features: Path) -> None:
    files = sorted(map(str, features.glob("*.parquet")))
    table = spark.read.parquet(*files)
    ours, moments = fit_projection(Vectors.in_files(spark, files, "features"), Criterion(k=3))
    theirs, _ = fit_projection(Vectors.of(table, "features"), Criterion(k=3))
    assert moments.n == 5 * 1287
    np.testing.assert_allclose(ours.directions, theirs.directions, atol=1e-9)
    through_jvm = PCAModel(ours).transform(table).select("path", "label", "components")
    found = [sorted(rows.collect()) for rows in (project_files(spark, files, ours, "features"), through_jvm)]
    assert len(found[0]) == 6500
    assert [row[:2] for row in found[0]] == [row[:2] for row in found[1]]
    for (_, _, one), (_, _, other) in zip(*found, strict=True):
        assert (one is None) == (other is None)
        assert one is None or np.allclose(one, other, rtol=1e-6, atol=1e-6)


def test_tables_that_are_no_features_are_refused_with_what_they_lack(tmp_path: Path) -> None:
    for name, column in (("words", ["a", "b"]), ("missing", None)):
        (tmp_path / name).mkdir()
        columns = {"path": ["a", "b"], "label": ["x", "y"]} | ({} if column is None else {"features": column})
        pq.write_table(pa.table(columns), tmp_path / name / "0.parquet")
    words = verger("reduce", "words", "out", cwd=tmp_path)
    assert words.returncode == 1 and "features are string" in words.stderr
    missing = verger("reduce", "missing", "out", cwd=tmp_path)
    assert missing.returncode == 1 and "no column features" in missing.stderr
    assert not (tmp_path / "out").exists()
