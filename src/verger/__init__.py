"""Verger: compute CNN features and PCA components of fruit photos, on a laptop or on Spark.

In Python::

    import verger

    verger.run("photos/", "out/", model="fruitnet")

Two ``pyspark.ml`` stages (``pip install 'verger[spark]'``)::

    from pyspark.ml import Pipeline
    from verger import PCA, ImageFeaturizer

    Pipeline(stages=[ImageFeaturizer(model="MobileNetV2"), PCA(variance=0.9)])

The names are imported on first use, so that ``import verger`` does not import Spark.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verger.api import features as features
    from verger.api import pack as pack
    from verger.api import reduce as reduce
    from verger.api import run as run
    from verger.engine.spark.session import open_session as open_session
    from verger.kernel.decode import decode_rgb as decode_rgb
    from verger.spark_ml.featurizer import ImageFeaturizer as ImageFeaturizer
    from verger.spark_ml.images import read_images as read_images
    from verger.spark_ml.pca_stage import PCA as PCA
    from verger.spark_ml.pca_stage import PCAModel as PCAModel

__version__ = "0.1.0"

_HOMES = {
    "run": "verger.api",
    "features": "verger.api",
    "reduce": "verger.api",
    "pack": "verger.api",
    "ImageFeaturizer": "verger.spark_ml.featurizer",
    "decode_rgb": "verger.kernel.decode",
    "PCA": "verger.spark_ml.pca_stage",
    "PCAModel": "verger.spark_ml.pca_stage",
    "read_images": "verger.spark_ml.images",
    "open_session": "verger.engine.spark.session",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'verger' has no attribute {name!r}")
