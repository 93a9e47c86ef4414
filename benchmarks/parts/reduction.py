"""Part `reduction`: our scale + PCA fit against Spark ML's StandardScaler + PCA, on the same cached vectors.

python -m benchmarks.parts.reduction FEATURES_FOLDER
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.ml.feature import PCA as SparkPCA
from pyspark.ml.feature import StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql.functions import col

from benchmarks.measure import Line, say, time_verger
from benchmarks.parts.chain import MODEL
from benchmarks.photos import Bench
from verger.engine.spark.session import open_session
from verger.spark_ml.pca_stage import PCA

N_COMPONENTS = 100
N_ROUNDS = 4
N_WARM_UP = 2  # the JVM compiles code that runs repeatedly


@dataclass(frozen=True)
class ReductionTimes:
    """Medians of alternating rounds, without the first ones, which warm up."""

    n_vectors: int
    ours_s: float
    spark_ml_s: float

    @property
    def speed_up(self) -> float:
        """Ratio of Spark ML's time to ours."""
        return self.spark_ml_s / self.ours_s


def measure(bench: Bench) -> list[Line]:
    """Fit on the vectors of the 16,480 photos, which the part `chain` has written."""
    features = bench.folder / "features-16480"
    if not features.is_dir():
        time_verger("features", bench.training, features, *MODEL, "--no-report")
    found = time_reduction(features / "features")
    say(f"reduction: ours {found.ours_s:.2f} s, Spark ML {found.spark_ml_s:.2f} s")
    return [
        Line(f"scale + PCA fit, {found.n_vectors:,} x 1,280: verger", f"{found.ours_s:.2f} s"),
        Line("the same with Spark ML's StandardScaler + PCA", f"{found.spark_ml_s:.2f} s"),
        Line("speed-up", f"{found.speed_up:.1f}", ">= 8"),
    ]


def time_reduction(features: Path) -> ReductionTimes:
    """Fit both on the vectors of a features folder, held in memory."""
    spark = open_session("local[*]", driver_memory="4g")
    spark.sparkContext.setLogLevel("ERROR")
    try:
        vectors = spark.read.parquet(str(features)).select("features")
        arrays = vectors.cache()
        spark_vectors = vectors.select(array_to_vector(col("features")).alias("v")).cache()
        n_vectors = arrays.count()
        spark_vectors.count()
        ours = PCA(k=N_COMPONENTS, standardize=True)
        theirs = Pipeline(
            stages=[
                StandardScaler(inputCol="v", outputCol="s", withMean=True, withStd=True),
                SparkPCA(k=N_COMPONENTS, inputCol="s", outputCol="p"),
            ]
        )
        rounds = [
            (_time(lambda: ours.fit(arrays)), _time(lambda: theirs.fit(spark_vectors))) for _ in range(N_ROUNDS)
        ]
        ours_s, spark_ml_s = zip(*rounds[N_WARM_UP:], strict=True)
        return ReductionTimes(n_vectors, statistics.median(ours_s), statistics.median(spark_ml_s))
    finally:
        spark.stop()


def _time(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    found = time_reduction(Path(sys.argv[1]))
    print(f"{found.n_vectors} vectors: ours {found.ours_s:.2f} s, Spark ML {found.spark_ml_s:.2f} s")
