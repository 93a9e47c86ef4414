"""Our PCA against numpy, scikit-learn and Spark ML."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import PCA as SparkPCA
from pyspark.ml.feature import StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.preprocessing import StandardScaler as SklearnScaler

from verger.errors import ReductionError, SettingsError
from verger.kernel import moments as moments_module
from verger.kernel.moments import Moments, merge_all
from verger.kernel.pca import Criterion, fit_exact
from verger.kernel.sketch import fit_randomized, product_part
from verger.spark_ml.pca_stage import PCA, PCAModel, fit_projection, vectors_of

Matrix = npt.NDArray[np.float64]


def correlated(n: int, d: int, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    rank = min(d, 6)
    signal = rng.normal(size=(n, rank)) * np.geomspace(10, 1, rank) @ rng.normal(size=(rank, d))
    return signal + 0.1 * rng.normal(size=(n, d)) + 50 * rng.normal(size=d)


def frame(spark: SparkSession, x: Matrix, kind: str = "array<double>") -> DataFrame:
    rows = [(i, None if np.isnan(row).all() else [float(v) for v in row]) for i, row in enumerate(x)]
    return spark.createDataFrame(rows, f"id int, features {kind}").repartition(5)


def collected(table: DataFrame, column: str = "components") -> Matrix:
    return np.array([row[0] for row in table.orderBy("id").select(column).collect()], dtype=float)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 8), st.integers(0, 99))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_merged_moments_equal_those_of_the_whole(sizes: list[int], d: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(1e4, 1, size=(sum(sizes), d))
    merged = merge_all([Moments.from_vectors(part) for part in np.split(x, np.cumsum(sizes)[:-1])])
    assert merged.n == len(x)
    np.testing.assert_allclose(merged.mean, x.mean(0), rtol=1e-12)
    centred = x - x.mean(0)
    np.testing.assert_allclose(merged.m2, centred.T @ centred, atol=1e-7)


def test_moments_are_written_and_read_and_other_files_refused() -> None:
    m = Moments.from_vectors(correlated(20, 3))
    again = Moments.from_bytes(m.to_bytes())
    assert again.n == m.n
    np.testing.assert_array_equal(again.m2, m.m2)
    with pytest.raises(ReductionError, match="not a PCA state"):
        Moments.from_bytes(b"something else")
    other = io.BytesIO()
    np.savez(other, a=np.zeros(2))
    with pytest.raises(ReductionError, match="not a PCA state"):
        Moments.from_bytes(other.getvalue())


@pytest.mark.core
@pytest.mark.parametrize("kind", ["array<double>", "array<float>"])
def test_it_equals_scikit_learn(spark: SparkSession, kind: str) -> None:
    x = correlated(300, 12)
    if kind == "array<float>":
        x = x.astype(np.float32).astype(float)
    model = PCA(k=5).fit(frame(spark, x, kind))
    theirs = SklearnPCA(n_components=5, svd_solver="full").fit(x)
    np.testing.assert_allclose(model.projection.directions, theirs.components_, atol=1e-8)
    np.testing.assert_allclose(model.explained_variance_ratio_[:5], theirs.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(collected(model.transform(frame(spark, x, kind))), theirs.transform(x), atol=1e-3)


def test_standardized_it_equals_scikit_learn_on_scaled_columns(spark: SparkSession) -> None:
    x = correlated(200, 8) * np.geomspace(1, 1e3, 8)
    x[:, 3] = 7  # a constant column must not divide by zero
    model = PCA(variance=0.95, standardize=True).fit(frame(spark, x))
    scaled = SklearnScaler().fit_transform(x)
    theirs = SklearnPCA(svd_solver="full").fit(scaled)
    np.testing.assert_allclose(model.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-10)
    expected_k = int(np.searchsorted(np.cumsum(theirs.explained_variance_ratio_), 0.95)) + 1
    assert model.projection.k == expected_k
    # scikit-learn divides by the population's deviation, we (as Spark does) by the sample's
    ours = collected(model.transform(frame(spark, x))) * np.sqrt(200 / 199)
    np.testing.assert_allclose(ours, theirs.transform(scaled)[:, :expected_k], atol=1e-4)


@pytest.mark.slow
def test_it_equals_spark_ml_up_to_sign_and_centring(spark: SparkSession) -> None:
    x = correlated(150, 10)
    table = frame(spark, x).withColumn("v", array_to_vector(col("features")))
    theirs = Pipeline(
        stages=[
            StandardScaler(inputCol="v", outputCol="s", withMean=True, withStd=True),
            SparkPCA(k=4, inputCol="s", outputCol="p"),
        ]
    ).fit(table)
    ours = PCA(k=4, standardize=True, inputCol="v").fit(table)
    explained: Matrix = theirs.stages[1].explainedVariance.toArray()  # type: ignore[attr-defined]
    np.testing.assert_allclose(ours.explained_variance_ratio_[:4], explained, rtol=1e-8)
    a = collected(ours.transform(table))
    b = np.array([r[0].toArray() for r in theirs.transform(table).orderBy("id").select("p").collect()])
    np.testing.assert_allclose(np.abs(a), np.abs(b), atol=1e-3)


def test_signs_and_bits_do_not_change_from_run_to_run(spark: SparkSession) -> None:
    table = frame(spark, correlated(100, 6)).cache()
    one, two = (PCA(k=6).fit(table).projection for _ in range(2))
    np.testing.assert_array_equal(one.directions, two.directions)
    largest = np.abs(one.directions).argmax(axis=1)
    assert (one.directions[np.arange(6), largest] > 0).all()


@pytest.mark.core
def test_rows_without_features_pass_through_and_do_not_count(spark: SparkSession) -> None:
    x = correlated(50, 4)
    x[7] = np.nan
    model = PCA(k=2).fit(frame(spark, x))
    assert model.projection.n == 49
    rows = model.transform(frame(spark, x)).orderBy("id").collect()
    assert rows[7].components is None
    assert len(rows) == 50
    assert all(len(row.components) == 2 for i, row in enumerate(rows) if i != 7)


@pytest.mark.core
def test_stages_save_and_load_in_a_pipeline(spark: SparkSession, tmp_path: Path) -> None:
    table = frame(spark, correlated(60, 5))
    Pipeline(stages=[PCA(variance=0.9, standardize=True)]).save(str(tmp_path / "estimator"))
    estimator = Pipeline.load(str(tmp_path / "estimator"))
    assert estimator.getStages()[0].getOrDefault("variance") == 0.9
    fitted = estimator.fit(table)
    fitted.save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(collected(again.transform(table)), collected(fitted.transform(table)))
    stage = again.stages[0]
    assert isinstance(stage, PCAModel)
    assert stage.uid == fitted.stages[0].uid
    assert stage.moments_ is not None
    assert stage.moments_.n == 60
    fitted.write().overwrite().save(str(tmp_path / "model"))


@pytest.mark.slow
def test_many_partitions_are_merged_in_a_tree(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    x = correlated(400, 4)
    table = frame(spark, x).repartition(20)
    monkeypatch.setattr("verger.spark_ml.pca_stage.FAN_IN", 2)
    monkeypatch.setattr("verger.spark_ml.pca_stage.n_slots", lambda _: 20)
    projection, moments = fit_projection(vectors_of(table, "features"), Criterion(k=2))
    assert moments.n == 400
    np.testing.assert_allclose(projection.mean, x.mean(0), rtol=1e-10)
    np.testing.assert_allclose(moments.m2, np.cov(x.T) * 399, rtol=1e-8)


@pytest.mark.parametrize(("k", "variance"), [(3, None), (None, 0.9)])
@pytest.mark.parametrize("standardize", [False, True])
def test_wide_vectors_are_sketched_and_the_error_is_stated(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, k: int | None, variance: float | None, standardize: bool
) -> None:
    x = correlated(90, 40)
    exact, _ = fit_projection(
        vectors_of(frame(spark, x), "features"), Criterion(k, variance), standardize=standardize
    )
    monkeypatch.setattr(moments_module, "MAX_EXACT_FEATURES", 10)

    def product(mean: Matrix, scale: Matrix, basis: Matrix) -> Matrix:
        return product_part(x, mean, scale, basis)

    wide = Moments.from_vectors(x)
    assert wide.is_wide
    sketched = fit_randomized(wide, Criterion(k, variance), product, standardize=standardize)
    assert sketched.k == exact.k
    np.testing.assert_allclose(
        sketched.explained_variance[: exact.k], exact.explained_variance[: exact.k], rtol=1e-4
    )
    np.testing.assert_allclose(np.abs(np.sum(sketched.directions * exact.directions, axis=1)), 1, atol=1e-4)
    assert sketched.method == "randomized"
    assert 0 < sketched.residual < 1e-3


@pytest.mark.slow
def test_flattened_vgg16_width_goes_through_spark(spark: SparkSession) -> None:
    """25,088 columns on 60 rows: the workers take the wide way by themselves."""
    x = correlated(60, 25_088)
    projection, moments = fit_projection(vectors_of(frame(spark, x), "features"), Criterion(variance=0.9))
    assert moments.is_wide
    ratio = SklearnPCA(svd_solver="full").fit(x).explained_variance_ratio_
    assert projection.k == int(np.searchsorted(np.cumsum(ratio), 0.9)) + 1
    np.testing.assert_allclose(
        projection.explained_variance_ratio[: projection.k], ratio[: projection.k], rtol=1e-5
    )


def test_a_variance_that_a_sketch_cannot_reach_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(300, 100))
    monkeypatch.setattr(moments_module, "MAX_EXACT_FEATURES", 10)
    monkeypatch.setattr("verger.kernel.sketch.MAX_COMPONENTS", 4)
    with pytest.raises(ReductionError, match=r"--components 4 or fewer.*--pooling avg"):
        fit_randomized(Moments.from_vectors(x), Criterion(variance=0.9), lambda m, s, b: product_part(x, m, s, b))


@pytest.mark.parametrize(
    ("x", "criterion", "words"),
    [
        (np.ones((1, 3)), Criterion(k=1), "two photos or more"),
        (np.ones((5, 3)), Criterion(variance=0.9), "all feature vectors are equal"),
        (np.eye(5, 3), Criterion(k=4), "at most 3"),
        (np.array([[1.0, np.inf], [0, 1]]), Criterion(k=1), "NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_vectors_that_cannot_be_reduced_are_an_error(x: Matrix, criterion: Criterion, words: str) -> None:
    with pytest.raises(ReductionError, match=words):
        fit_exact(Moments.from_vectors(x), criterion)


def test_no_and_unequal_vectors_say_why(spark: SparkSession) -> None:
    with pytest.raises(ReductionError, match="no feature vectors"):
        PCA(k=1).fit(spark.createDataFrame([], "id int, features array<float>"))
    unequal = spark.createDataFrame([([1.0, 2.0],), ([1.0],)], "features array<double>").coalesce(1)
    with pytest.raises(Exception, match="unequal widths"):
        PCA(k=1).fit(unequal)


@pytest.mark.parametrize("given", [{}, {"k": 2, "variance": 0.5}, {"k": 0}, {"variance": 1.5}])
def test_k_and_variance_exclude_each_other(spark: SparkSession, given: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        PCA(**given).fit(frame(spark, correlated(10, 3)))  # type: ignore[arg-type]
