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

from verger.featurize.catalog import CATALOG, NetworkSpec
from verger.featurize.network import prepare_network
from verger.featurize.runtime import Extractor
from verger.featurize.transformer import ImageFeaturizer
from verger.ingest import read_images, with_content

SEED = 7


def cosines(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    result: npt.NDArray[np.float64] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return result


@pytest.mark.core
@pytest.mark.parametrize("travels", ["path", "content"])
def test_the_reference_vectors_come_out_of_spark(spark: SparkSession, shared: Path, travels: str) -> None:
    """100 real photos: TensorFlow's vectors equal ours, read by the workers or through the JVM."""
    reference = np.load(shared / "reference" / "sample_mobilenetv2_imagenet_avg.npz")
    images = read_images(spark, str(shared / "data" / "sample"))
    if travels == "content":
        images = with_content(images)
    rows = ImageFeaturizer(weights="imagenet").transform(images).select("path", "features").collect()
    ours = {row.path.removeprefix(f"file:{shared.resolve()}/data/"): row.features for row in rows}
    assert len(ours) == len(reference["path"]) == 100
    vectors = np.array([ours[str(path)] for path in reference["path"]], np.float32)
    assert cosines(vectors, reference["features"]).min() >= 0.99999
    assert np.abs(vectors - reference["features"]).max() < 1e-3


@pytest.mark.parametrize(
    ("model", "pooling"),
    [("VGG16", "max"), ("ResNet50", "avg"), ("EfficientNetB0", "avg"), ("MobileNetV2", "flatten")],
)
def test_seeded_weights_give_what_keras_predicts(model: str, pooling: str, tmp_path: Path) -> None:
    """VGG16 is BGR, ResNet50 too, EfficientNet channels-last; flattening must keep Keras' order."""
    size = CATALOG[model].size_px
    smooth = np.random.default_rng(1).integers(0, 256, (6, size // 16, size // 16, 3), np.uint8)
    pixels = smooth.repeat(16, axis=1).repeat(16, axis=2)
    files = (tmp_path / "pixels.npy", tmp_path / "features.npy")
    np.save(files[0], pixels)
    extractor = Extractor(prepare_network(NetworkSpec(model, f"random:{SEED}", pooling)))
    ours = np.array([extractor(picture) for picture in pixels])
    subprocess.run(
        [sys.executable, "-m", "tests.keras_reference", model, pooling, str(SEED), *map(str, files)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[2],
        check=True,
    )
    theirs = np.load(files[1])
    assert ours.shape == theirs.shape
    assert np.ptp(theirs, axis=0).max() > 0.01 * np.abs(theirs).max(), "the photos must tell apart"
    assert cosines(ours, theirs).min() >= 0.99999
