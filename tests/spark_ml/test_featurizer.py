from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import lit

from tests.support.photos import encode, paint
from verger.errors import SettingsError
from verger.kernel.decode import decode_image
from verger.spark_ml.featurizer import ImageFeaturizer
from verger.spark_ml.images import read_images, with_content
from verger.spark_ml.pca_stage import PCA, PCAModel
from verger.storage.schemas import OUTCOME

Rows = dict[str, dict[str, object]]


@pytest.fixture
def images(spark: SparkSession, photos: Path) -> DataFrame:
    return read_images(spark, str(photos))


def by_path(frame: DataFrame) -> Rows:
    return {row["path"]: row.asDict() for row in frame.collect()}


def test_the_network_can_be_looked_at_before_it_travels(tiny_model: str) -> None:
    network = ImageFeaturizer(model=tiny_model).network()
    told = network.describe()
    assert told["n_features"] == 4 and told["size_px"] == (8, 8) and len(str(told["weights_sha256"])) == 64
    assert 0 < network.n_bytes < 100_000


def test_the_defaults_are_those_of_the_command_line() -> None:
    stage = ImageFeaturizer()
    assert (stage.getInputCol(), stage.getOutputCol()) == ("content", "features")
    assert stage.getOrDefault(stage.pathCol) == "path"
    spec = stage.spec()
    assert (spec.model, spec.effective_weights, spec.pooling, spec.precision) == (
        "MobileNetV2",
        "imagenet",
        "avg",
        "f32",
    )
    assert spec.preprocessing is None and spec.effective_preprocessing == "tf"


def test_every_param_explains_itself() -> None:
    told = ImageFeaturizer().explainParams()
    network = ("model", "weights", "pooling", "precision", "preprocessing", "views")
    for name in (*network, "maxPixels", "inputCol", "pathCol"):
        assert f"{name}: " in told


def test_a_copy_takes_other_params_and_leaves_the_original(tiny_model: str) -> None:
    stage = ImageFeaturizer(model=tiny_model)
    other = stage.copy({stage.outputCol: "vector", stage.pooling: "max"})
    assert (other.getOutputCol(), other.spec().pooling) == ("vector", "max")
    assert (stage.getOutputCol(), stage.spec().pooling) == ("features", "avg")
    assert other.spec().model == tiny_model and other.uid == stage.uid


@pytest.mark.usefixtures("spark")
def test_views_are_a_name_or_a_number_of_earlier_versions(tiny_model: str, tmp_path: Path) -> None:
    assert ImageFeaturizer().spec().views == "whole"
    for given, name in ((1, "whole"), (5, "5"), ("crops", "crops")):
        stage = ImageFeaturizer(model=tiny_model, views=given)
        assert stage.spec().views == stage.getOrDefault(stage.views) == name
        assert stage.network().describe()["views"] == name
    earlier = ImageFeaturizer()
    earlier.set(earlier.views, 5)  # as a stage is read that an earlier version saved
    earlier.save(str(tmp_path / "stage"))
    assert ImageFeaturizer.load(str(tmp_path / "stage")).spec().views == "5"
    with pytest.raises(SettingsError, match=r"views = 'four'.*whole, center, crops, 5"):
        ImageFeaturizer(model=tiny_model, views="four").spec()


def test_a_wrong_param_is_told_before_any_job_starts(images: DataFrame, tiny_model: str) -> None:
    with pytest.raises(SettingsError, match="pooling = 'sum'"):
        ImageFeaturizer(model=tiny_model, pooling="sum").transform(images)
    with pytest.raises(SettingsError, match="VGG17"):
        ImageFeaturizer(model="VGG17").transform(images)
    with pytest.raises(SettingsError, match=r"decode = 'half'.*exact"):
        ImageFeaturizer(model=tiny_model, decode="half").transform(images)


def test_large_photos_are_decoded_at_a_reduced_scale_where_asked(
    spark: SparkSession, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "large.jpg").write_bytes(encode(paint(1600, 1200), "JPEG"))
    images = read_images(spark, str(tmp_path))
    exact, scaled = (
        ImageFeaturizer(model=tiny_model, decode=mode).transform(images).first() for mode in ("exact", "scaled")
    )
    assert exact is not None and scaled is not None
    assert (exact["width"], exact["height"]) == (scaled["width"], scaled["height"]) == (1600, 1200)
    assert exact["features"] != scaled["features"]
    np.testing.assert_allclose(scaled["features"], exact["features"], rtol=0.05)


@pytest.mark.core
def test_it_adds_the_outcome_and_keeps_every_row(images: DataFrame, tiny_model: str) -> None:
    found = ImageFeaturizer(model=tiny_model).transform(images)
    assert found.columns == [*images.columns, *OUTCOME.names]
    rows = by_path(found)
    assert len(rows) == 15
    for path, row in rows.items():
        is_good = Path(path).name[0].isdigit()
        assert (row["features"] is not None) == is_good == (row["reason"] is None)
        if is_good:
            data = Path(path.removeprefix("file:")).read_bytes()
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
            assert (row["width"], row["height"]) == decode_image(data).image.size
            assert len(list(row["features"])) == 4  # type: ignore[call-overload]


@pytest.mark.core
def test_bytes_as_spark_reads_them_give_what_paths_give(
    spark: SparkSession, images: DataFrame, photos: Path, tiny_model: str
) -> None:
    stage = ImageFeaturizer(model=tiny_model)
    by_content = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(str(photos))
    found = stage.transform(by_content)
    assert "content" not in found.columns
    rows = {path: row for path, row in by_path(found).items() if not path.endswith(".txt")}
    expected = by_path(stage.transform(images.drop("label")))
    # Spark passes over files of zero bytes.
    assert {path for path in expected if path not in rows} == {path for path in expected if "empty.jpg" in path}
    assert rows == {path: row for path, row in expected.items() if path in rows}


def test_other_columns_may_hold_the_bytes_and_the_vector(images: DataFrame, tiny_model: str) -> None:
    renamed = with_content(images).withColumnRenamed("content", "jpeg").withColumn("shop", lit("north"))
    stage = ImageFeaturizer(model=tiny_model, inputCol="jpeg", outputCol="vector")
    found = stage.transform(renamed)
    assert "jpeg" not in found.columns and "features" not in found.columns
    rows, expected = by_path(found), by_path(ImageFeaturizer(model=tiny_model).transform(images))
    assert {path: row["vector"] for path, row in rows.items()} == {p: r["features"] for p, r in expected.items()}
    assert {row["shop"] for row in rows.values()} == {"north"}


def test_the_path_column_may_have_any_name(images: DataFrame, tiny_model: str) -> None:
    stage = ImageFeaturizer(model=tiny_model, pathCol="file")
    found = stage.transform(images.select(images["path"].alias("file")))
    assert found.where("features is not null").count() == 12


def test_what_cannot_be_read_is_a_row_with_a_reason(spark: SparkSession, tiny_model: str) -> None:
    stage = ImageFeaturizer(model=tiny_model)
    contents = spark.createDataFrame(
        [(1, None), (2, bytearray()), (3, bytearray(b"words"))], "id int, content binary"
    )
    rows = {row["id"]: row for row in stage.transform(contents).collect()}
    assert {number: row["reason"] for number, row in rows.items()} == {1: "empty", 2: "empty", 3: "not-an-image"}
    assert all(row["features"] is None and row["detail"] for row in rows.values())
    places = spark.createDataFrame([(None,), ("/absent.jpg",), ("hdfs://host/a.jpg",)], "path string")
    assert [row["reason"] for row in stage.transform(places).collect()] == ["unreadable"] * 3


def test_large_photos_are_rejected_as_told(images: DataFrame, tiny_model: str) -> None:
    found = ImageFeaturizer(model=tiny_model, maxPixels=30 * 20 - 1).transform(images)
    # The one cut short is among them: its header tells its size.
    assert found.where("reason = 'too-many-pixels'").count() == 13


@pytest.mark.core
def test_a_saved_stage_comes_back_as_it_was(images: DataFrame, tiny_model: str, tmp_path: Path) -> None:
    stage = ImageFeaturizer(model=tiny_model, preprocessing="tf", outputCol="vector", maxPixels=1000)
    stage.save(f"{tmp_path}/stage")
    loaded = ImageFeaturizer.load(f"{tmp_path}/stage")
    assert loaded.uid == stage.uid and loaded.spec() == stage.spec()
    assert loaded.extractParamMap() == stage.extractParamMap()
    assert by_path(loaded.transform(images)) == by_path(stage.transform(images))


def test_a_saved_pipeline_comes_back_as_it_was(tiny_model: str, tmp_path: Path) -> None:
    pipeline = Pipeline(stages=[ImageFeaturizer(model=tiny_model), PCA(k=2, standardize=True)])
    pipeline.save(f"{tmp_path}/pipeline")
    featurizer, pca = Pipeline.load(f"{tmp_path}/pipeline").getStages()
    assert isinstance(featurizer, ImageFeaturizer) and isinstance(pca, PCA)
    assert featurizer.spec().model == tiny_model
    assert pca.criterion().k == 2 and pca.getOrDefault(pca.standardize)


@pytest.mark.core
def test_photos_to_components_as_one_pipeline(images: DataFrame, tiny_model: str, tmp_path: Path) -> None:
    """The README's example."""
    pipeline = Pipeline(stages=[ImageFeaturizer(model=tiny_model), PCA(variance=0.9)])
    model = pipeline.fit(images)
    rows = by_path(model.transform(images))
    pca = model.stages[-1]
    assert isinstance(pca, PCAModel)
    k = len(pca.projection.directions)
    assert pca.explained_variance_ratio_[:k].sum() >= 0.9
    assert k == 1 or pca.explained_variance_ratio_[: k - 1].sum() < 0.9
    good = [row for row in rows.values() if row["reason"] is None]
    assert len(good) == 12 and len(rows) == 15
    assert all((row["components"] is None) == (row["reason"] is not None) for row in rows.values())
    found = np.array([row["components"] for row in good])
    assert found.shape == (12, k)
    np.testing.assert_allclose(found, pca.projection(np.array([row["features"] for row in good])), atol=1e-4)
    model.save(f"{tmp_path}/model")
    assert by_path(PipelineModel.load(f"{tmp_path}/model").transform(images)) == rows


def test_files_that_are_not_regular_are_rejected_at_once(
    spark: SparkSession, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "kiwi").mkdir()
    os.mkfifo(tmp_path / "kiwi" / "pipe.jpg")
    (tmp_path / "kiwi" / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "kiwi" / "good.png").write_bytes(encode(paint(20, 20), "PNG"))
    images = read_images(spark, str(tmp_path))
    found = {
        Path(path).name: row for path, row in by_path(ImageFeaturizer(model=tiny_model).transform(images)).items()
    }
    assert {name: row["reason"] for name, row in found.items()} == {
        "pipe.jpg": "unreadable",
        "device.jpg": "unreadable",
        "good.png": None,
    }
    assert found["pipe.jpg"]["detail"] == "not a regular file"
    contents = {Path(path).name: row["content"] for path, row in by_path(with_content(images)).items()}
    assert contents["pipe.jpg"] is None and contents["good.png"] is not None
