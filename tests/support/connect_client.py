"""A program that uses the library as a data scientist would: the same on classic Spark and on Spark Connect.

python -m tests.support.connect_client MASTER PHOTOS MODEL OUT
"""

from __future__ import annotations

import sys

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql.functions import col

from verger import PCA, ImageFeaturizer, open_session, read_images
from verger.spark_ml.images import with_content


def main(master: str, photos: str, model: str, out: str) -> None:
    """Write the tables `pipeline`, of photos read by path, and `stages`, of their bytes and of ML's vectors."""
    spark = open_session(master)
    images = read_images(spark, photos)
    fitted = Pipeline(stages=[ImageFeaturizer(model=model), PCA(k=2, standardize=True)]).fit(images)
    fitted.save(f"{out}/model")
    PipelineModel.load(f"{out}/model").transform(images).write.parquet(f"{out}/pipeline")

    features = ImageFeaturizer(model=model).transform(with_content(images)).where("features is not null")
    vectors = features.withColumn("features", array_to_vector(col("features")))
    PCA(k=2).fit(vectors).transform(vectors).select("path", "components").write.parquet(f"{out}/stages")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
