"""Our vectors are Keras' vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pyspark.sql import SparkSession

from verger.kernel.networks.catalog import CATALOG, NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import prepare_network
from verger.spark_ml.featurizer import ImageFeaturizer
from verger.spark_ml.images import read_images, with_content

SEED = 7

Vectors = npt.NDArray[np.float32]


def cosines(ours: Vectors, theirs: Vectors) -> npt.NDArray[np.float64]:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    result: npt.NDArray[np.float64] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return result


@pytest.mark.core
@pytest.mark.parametrize("travels", [pytest.param("path", marks=pytest.mark.slow), "content"])
def test_the_reference_vectors_come_out_of_spark(spark: SparkSession, shared: Path, travels: str) -> None:
    """100 real photos: TensorFlow's vectors equal ours, read by the workers or through the JVM."""
    reference = np.load(shared / "reference" / "sample_mobilenetv2_imagenet_avg.npz")
    images = read_images(spark, str(shared.resolve() / "data" / "sample"))
    if travels == "content":
        images = with_content(images)
    rows = ImageFeaturizer(weights="imagenet").transform(images).select("path", "features").collect()
    ours = {row.path.removeprefix(f"file:{shared.resolve()}/data/"): row.features for row in rows}
    assert len(ours) == len(reference["path"]) == 100
    vectors = np.array([ours[str(path)] for path in reference["path"]], np.float32)
    assert cosines(vectors, reference["features"]).min() >= 0.99999
    assert np.abs(vectors - reference["features"]).max() < 1e-3


# VGG16 and ResNet50 are BGR, EfficientNet channels-last; flattening must keep Keras' order.
CASES = {"EfficientNetB0": "avg", "MobileNetV2": "flatten"}
LARGE_CASES = {"VGG16": "max", "ResNet50": "avg"}  # 650 MB of weights


@pytest.fixture(scope="module")
def predicted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Vectors, Vectors]]:
    """Ours and Keras' features of the same pixels, on the same seeded weights; both are made at a time."""
    folder = tmp_path_factory.mktemp("keras")
    for model in request.param:
        np.save(folder / f"{model}-pixels.npy", smooth_pixels(CATALOG[model].size_px))
    cases = [f"{model}:{pooling}" for model, pooling in request.param.items()]
    keras = subprocess.Popen(
        [sys.executable, "-m", "tests.support.keras_reference", str(SEED), str(folder), *cases],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[3],
    )
    ours = {}
    for model, pooling in request.param.items():
        extractor = Extractor(prepare_network(NetworkSpec(model, f"random:{SEED}", pooling)))
        ours[model] = np.array([extractor(picture) for picture in smooth_pixels(CATALOG[model].size_px)])
    assert keras.wait() == 0
    return {model: (ours[model], np.load(folder / f"{model}-features.npy")) for model in request.param}


def smooth_pixels(size_px: int) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(1).integers(0, 256, (6, size_px // 16, size_px // 16, 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


@pytest.mark.slow
@pytest.mark.parametrize("predicted", [CASES, LARGE_CASES], ids="+".join, indirect=True)
def test_seeded_weights_give_what_keras_predicts(predicted: dict[str, tuple[Vectors, Vectors]]) -> None:
    for model, (ours, theirs) in predicted.items():
        assert ours.shape == theirs.shape
        assert np.ptp(theirs, axis=0).max() > 0.01 * np.abs(theirs).max(), (
            f"{model}: the vectors must differ between photos"
        )
        assert cosines(ours, theirs).min() >= 0.99999, model
