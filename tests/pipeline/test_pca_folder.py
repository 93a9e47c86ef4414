from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from verger.errors import ReductionError
from verger.kernel.moments import Moments
from verger.kernel.pca import Criterion, Projection, fit_exact
from verger.pipeline.pca_folder import read_projection, write_pca_model
from verger.spark_ml.pca_stage import PCAModel

VECTORS = np.random.default_rng(0).normal(3, [1, 2, 3, 4], (30, 4)).astype(np.float32)


def fitted() -> tuple[Projection, Moments]:
    moments = Moments.from_vectors(VECTORS)
    return fit_exact(moments, Criterion(k=2), standardize=True), moments


@pytest.mark.core
def test_spark_loads_a_model_written_without_it(spark: SparkSession, tmp_path: Path) -> None:
    projection, moments = fitted()
    write_pca_model(tmp_path / "pca", projection, moments)
    model = PCAModel.load(str(tmp_path / "pca"))
    table = spark.createDataFrame([(row.tolist(),) for row in VECTORS], "features array<float>")
    components = [row["components"] for row in model.transform(table).collect()]
    np.testing.assert_array_equal(np.array(components, np.float32), projection(VECTORS))
    assert model.moments_ is not None and np.array_equal(model.moments_.m2, moments.m2)
    assert model.uid.startswith("PCAModel_") and model.getInputCol() == "features"
    model.save(str(tmp_path / "again"))
    assert PCAModel.load(str(tmp_path / "again")).uid == model.uid


def test_a_model_that_spark_saved_is_read_without_it(spark: SparkSession, tmp_path: Path) -> None:
    projection, moments = fitted()
    PCAModel(projection, moments).save(str(tmp_path / "pca"))
    np.testing.assert_array_equal(read_projection(tmp_path / "pca")(VECTORS), projection(VECTORS))


def test_wide_vectors_have_a_model_without_moments(spark: SparkSession, tmp_path: Path) -> None:
    projection, _ = fitted()
    write_pca_model(tmp_path / "pca", projection, None)
    assert PCAModel.load(str(tmp_path / "pca")).moments_ is None
    assert read_projection(tmp_path / "pca").n == 30


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReductionError, match=r"model/pca of a result of `verger run`"):
        read_projection(tmp_path / "pca")
