"""The same chain as typical student notebooks write it, for comparison.

    python -m benchmarks.notebook_chain PHOTOS OUT

binaryFile through the JVM, `repartition`, a pandas UDF with one Keras `predict` per batch on broadcast weights,
then Spark ML's StandardScaler and PCA. Keras runs on its OpenVINO backend, which needs no TensorFlow;
channels-last, Keras' default; and in float32 like TensorFlow, so that both chains give the same vectors (this
backend's default is bf16, with a cosine of 0.98).
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pyspark.ml import Pipeline
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql.functions import col, element_at, split
from pyspark.sql.pandas.functions import pandas_udf

from verger.engine.spark.java import use_java

N_PARTITIONS = 24
N_COMPONENTS = 100


def run(photos: str, out: str) -> None:
    """Featurize, scale, reduce, write."""
    os.environ["KERAS_BACKEND"] = "openvino"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    use_java()
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[*]").config("spark.driver.memory", "4g").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    shared = spark.sparkContext.broadcast(_model().get_weights())

    def featurize(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        _in_float32()
        model = _model(weights=None)
        model.set_weights(shared.value)
        for batch in batches:
            pixels = np.stack([_pixels(content) for content in batch])
            yield pd.Series(list(np.asarray(model.predict(pixels, verbose=0))))

    to_features = pandas_udf(featurize, "array<float>")  # type: ignore[call-overload]
    images = (
        spark.read.format("binaryFile")
        .option("pathGlobFilter", "*.jpg")
        .option("recursiveFileLookup", "true")
        .load(photos)
    )
    label = element_at(split(col("path"), "/"), -2).alias("label")
    features = images.repartition(N_PARTITIONS).select("path", label, to_features("content").alias("features"))
    features.write.mode("overwrite").parquet(f"{out}/features")
    vectors = spark.read.parquet(f"{out}/features").withColumn("v", array_to_vector(col("features")))
    stages: list[Any] = [
        StandardScaler(inputCol="v", outputCol="s", withMean=True, withStd=True),
        PCA(k=N_COMPONENTS, inputCol="s", outputCol="components"),
    ]
    components = Pipeline(stages=stages).fit(vectors).transform(vectors)
    components.select("path", "label", "components").write.mode("overwrite").parquet(f"{out}/components")
    spark.stop()


def _in_float32() -> None:
    import openvino

    openvino.compile_model = partial(openvino.compile_model, config={"INFERENCE_PRECISION_HINT": "f32"})


def _model(weights: str | None = "imagenet") -> Any:
    import keras

    return keras.applications.MobileNetV2(
        include_top=False, weights=weights, input_shape=(224, 224, 3), pooling="avg"
    )


def _pixels(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224))
    return np.asarray(image, dtype=np.float32) / 127.5 - 1.0


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
