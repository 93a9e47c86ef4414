from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from tests.chain import manifest_here, verger

from verger.classify.model import load_classifier

N_FEATURES = 12
KINDS = ("Apple", "Pear", "Plum")
SPEC = {"model": "MobileNetV2", "weights": "random:0", "pooling": "avg", "precision": "f32", "preprocessing": None}


def make_result(folder: Path, *, noise: float = 0.4, kinds: tuple[str, ...] = KINDS, seed: int = 0) -> Path:
    """A result of `verger features` whose vectors cluster by label, each label in four films."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(0, 1, (len(kinds), N_FEATURES))
    rows = [
        {
            "path": f"file:/photos/{kind}/{axis}{n}_100.jpg",
            "label": kind,
            "features": (centres[k] * 3 + 5 + rng.normal(0, noise, N_FEATURES)).astype(np.float32),
        }
        for k, kind in enumerate(kinds)
        for axis in ("", "r_", "r2_", "r3_")
        for n in range(10 + 5 * k)
    ]
    rows += [{"path": "file:/photos/x.jpg", "label": None, "features": np.zeros(N_FEATURES, np.float32)}]
    (folder / "features").mkdir(parents=True)
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "features" / "part-0.parquet")
    (folder / "manifest.json").write_text(json.dumps({"network": {"spec": SPEC}}))
    return folder


@pytest.mark.usefixtures("spark")
def test_what_spark_trains_numpy_applies(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    told = manifest_here("train", "result", "out", "--folds", "3", "--regularisation", "0.01", cwd=tmp_path)
    assert told["evaluation"]["accuracy"] > 0.97 and told["evaluation"]["n_photos"] == 180
    found = load_classifier(tmp_path / "out")
    assert found.labels == KINDS and found.network == SPEC
    table = pq.read_table(tmp_path / "result" / "features").to_pylist()[:-1]
    vectors = np.array([row["features"] for row in table], np.float32)
    named = [found.labels[i] for i in found.probabilities(vectors).argmax(axis=1)]
    assert np.mean([name == row["label"] for name, row in zip(named, table, strict=True)]) > 0.97
    evaluation = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {row["label"] for row in evaluation["per_class"]} == set(KINDS)
    assert "What is taken for what" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("spark")
def test_training_finds_what_scikit_learn_finds(spark: SparkSession, tmp_path: Path) -> None:
    """Weighted, standardised multinomial regression with the same penalty gives the same probabilities."""
    linear = pytest.importorskip("sklearn.linear_model")
    make_result(tmp_path / "result", noise=3.0)
    manifest_here("train", "result", "out", "--folds", "2", "--regularisation", "0.1", cwd=tmp_path)
    found = load_classifier(tmp_path / "out")
    table = pq.read_table(tmp_path / "result" / "features").to_pylist()[:-1]
    vectors = np.array([row["features"] for row in table], np.float64)
    labels = np.array([row["label"] for row in table])
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0, ddof=1)
    # Spark's objective is the mean loss + reg / 2 |w|^2; scikit-learn's is the sum * C + |w|^2 / 2.
    theirs = linear.LogisticRegression(C=1 / (0.1 * len(labels)), class_weight="balanced", tol=1e-8, max_iter=5000)
    theirs.fit(scaled, labels)
    logits = found.logits(vectors.astype(np.float32))
    ours = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(ours - theirs.predict_proba(scaled)).max() < 0.01


@pytest.mark.usefixtures("spark")
def test_evaluate_needs_no_spark_and_tells_the_same_of_other_photos(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    manifest_here("train", "result", "out", "--folds", "2", "--regularisation", "0.01", cwd=tmp_path)
    make_result(tmp_path / "other", seed=1)
    done = verger(
        "evaluate", "other", "judged", "--classifier", "out", "--json", cwd=tmp_path, JAVA_HOME="/nowhere"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["evaluation"]
    assert told["accuracy"] > 0.97 and told["n_photos"] == 180
    assert (tmp_path / "judged" / "report.html").is_file()
    again = verger("evaluate", "other", "judged", "--classifier", "out", cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr


def test_what_cannot_be_trained_on_is_told(tmp_path: Path) -> None:
    nothing = verger("train", "nowhere", "out", cwd=tmp_path)
    assert nothing.returncode == 1 and "verger features" in nothing.stderr
    make_result(tmp_path / "result", kinds=("Apple",))
    for flags, words in (
        (("--folds", "1"), "folds = 1"),
        (("--regularisation", "much"), "regularisation = 'much'"),
        (("--group", "films"), "film, photo, none, regex:PATTERN"),
    ):
        done = verger("train", "result", "out", *flags, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("spark")
def test_one_label_is_too_few(tmp_path: Path) -> None:
    make_result(tmp_path / "result", kinds=("Apple",))
    with pytest.raises(Exception, match="two labels at least"):
        manifest_here("train", "result", "out", cwd=tmp_path)
