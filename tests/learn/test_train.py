from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from tests.support.chain import manifest_here, verger
from tests.support.labelled_vectors import (
    KINDS,
    N_FEATURES,
    SPEC,
    labelled,
    make_components,
    make_result,
    write_vectors,
)
from verger.engine.choice import LOCAL, SPARK
from verger.errors import ClassifierError, ResultError, SetupError
from verger.kernel.classifier.classifier import Classifier, Floats, load_classifier
from verger.kernel.classifier.training_plan import MAX_CROSS_VALIDATED, TrainingPlan
from verger.learn.classifier_jobs import evaluate_result, train_result
from verger.learn.fit_local import read_examples
from verger.learn.training_options import TrainOptions
from verger.process.progress import SilentProgress
from verger.settings import load_settings
from verger.storage.manifest import Manifest


def trained(result: Path, out: Path, *regularisations: float, engine: str = LOCAL, **options: Any) -> Classifier:
    train_manifest(result, out, *regularisations, engine=engine, **options)
    return load_classifier(out)


def train_manifest(
    result: Path, out: Path, *regularisations: float, engine: str = LOCAL, **options: Any
) -> Manifest:
    chosen = TrainOptions(regularisations=regularisations or (0.01,), **{"n_folds": 2, **options})
    return train_result(result, out, load_settings(engine=engine), SilentProgress(), chosen)


def uncalibrated(classifier: Classifier, vectors: Floats) -> npt.NDArray[np.floating]:
    logits = classifier.logits(vectors)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def accuracy(classifier: Classifier, vectors: Floats, labels: list[str]) -> float:
    named = [classifier.labels[i] for i in classifier.probabilities(vectors).argmax(axis=1)]
    return float(np.mean([name == label for name, label in zip(named, labels, strict=True)]))


def test_a_classifier_trained_locally_names_the_fruit_and_reports_on_itself(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    manifest = train_manifest(tmp_path / "result", tmp_path / "out", n_folds=3)
    assert manifest.evaluation is not None
    assert manifest.evaluation["accuracy"] > 0.97 and manifest.evaluation["n_photos"] == 180
    found = load_classifier(tmp_path / "out")
    assert found.labels == KINDS and found.network == SPEC
    assert accuracy(found, *labelled(tmp_path / "result")) > 0.97
    evaluation = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {row["label"] for row in evaluation["per_class"]} == set(KINDS)
    assert (tmp_path / "out" / "report.html").is_file()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["network"] == {"model": "MobileNetV2"}


@pytest.mark.parametrize("kinds", [KINDS, KINDS[:2]], ids=["three labels", "two labels"])
def test_training_minimises_the_documented_objective(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """Weighted mean loss + regularisation / 2 * |coef|^2, minimised here by plain gradient descent."""
    make_result(tmp_path / "result", noise=3.0, kinds=kinds)
    found = trained(tmp_path / "result", tmp_path / "out", 0.1)
    vectors, labels = labelled(tmp_path / "result")
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0, ddof=1)
    truth = np.array([[label == kind for kind in kinds] for label in labels], float)
    weights = (1 / truth.sum(axis=0))[truth.argmax(axis=1), None] / len(kinds)
    coef, intercept = np.zeros((len(kinds), N_FEATURES)), np.zeros(len(kinds))
    for _ in range(3000):
        logits = scaled @ coef.T + intercept
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        wrong = weights * (chances - truth)
        coef -= 0.3 * (wrong.T @ scaled + 0.1 * coef)
        intercept -= 0.3 * wrong.sum(axis=0)
    assert np.abs(uncalibrated(found, vectors) - chances).max() < 0.01


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(("kinds", "regularisation"), [(KINDS, 0.003), (KINDS[:2], 0.1)], ids=["three", "two"])
def test_both_engines_give_the_same_probabilities(
    tmp_path: Path, kinds: tuple[str, ...], regularisation: float
) -> None:
    make_result(tmp_path / "result", noise=4.0, kinds=kinds)
    vectors, _ = labelled(tmp_path / "result")
    local = trained(tmp_path / "result", tmp_path / "local", regularisation)
    spark = trained(tmp_path / "result", tmp_path / "spark", regularisation, engine=SPARK)
    assert np.abs(uncalibrated(local, vectors) - uncalibrated(spark, vectors)).max() < 0.01
    assert local.temperature == pytest.approx(spark.temperature, rel=0.05)
    assert local.labels == spark.labels and local.network == spark.network and local.about == spark.about


def test_both_engines_cross_validate_the_same_photos(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import functions as sql

    paths = [f"file:/photos/é {n}_100.jpg" for n in range(2000)]
    monkeypatch.setattr("verger.kernel.classifier.training_plan.MAX_CROSS_VALIDATED", 500)
    plan = TrainingPlan({"Apple": 1500, "Pear": 500}, None, {}, 5)
    local = [path for path in paths if plan.is_sampled(path)]
    table = spark.createDataFrame([(path,) for path in paths], "path string")
    on_spark = table.where(sql.sha2("path", 256) < plan.sample_end).collect()
    assert sorted(row["path"] for row in on_spark) == sorted(local)
    assert 420 < len(local) < 580


def test_few_photos_are_all_cross_validated() -> None:
    plan = TrainingPlan({"Apple": 10, "Pear": MAX_CROSS_VALIDATED - 10}, None, {}, 5)
    assert all(plan.is_sampled(f"{n}.jpg") for n in range(5000))


LOCAL_TRAINING = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

class Hidden(MetaPathFinder):
    # scikit-learn imports pandas wherever that is installed.
    def find_spec(self, name, path, target=None):
        if name in ("pandas", "pyspark"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
from verger.learn.training_options import TrainOptions
from verger.learn.classifier_jobs import train_result
from verger.process.progress import SilentProgress
from verger.settings import load_settings

options = TrainOptions(n_folds=2, regularisations=(0.01,))
train_result(Path("result"), Path("out"), load_settings(engine="local"), SilentProgress(), options)
print([name for name in sys.modules if name.startswith(("pyspark", "py4j", "pandas"))])
"""


def test_training_locally_needs_neither_pyspark_nor_pandas(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    command = [sys.executable, "-c", LOCAL_TRAINING]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert load_classifier(tmp_path / "out").labels == KINDS


def test_verger_itself_imports_neither_pandas_nor_scikit_learn_to_prepare_a_training(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    script = """
import sys
from pathlib import Path
from verger.learn import classifier_jobs
from verger.learn.fit_local import read_examples
from verger.learn.training_options import TrainOptions
from verger.learn.train import plan_training

examples, options = read_examples(Path("result"), "features"), TrainOptions()
with examples.prepare(plan_training(examples, options), options):
    print([name for name in ("pyspark", "pandas", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_without_scikit_learn_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_result(tmp_path / "result")
    monkeypatch.setattr("verger.learn.fit_local.find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install 'verger\[learn\]'"):
        trained(tmp_path / "result", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_classifier_trained_on_components_takes_features(tmp_path: Path) -> None:
    make_components(make_result(tmp_path / "result"))
    found = trained(tmp_path / "result", tmp_path / "out", column="components")
    assert found.coef.shape == (3, N_FEATURES) and found.about["on"] == "components"
    assert accuracy(found, *labelled(tmp_path / "result")) > 0.97


def check_wide_vectors(folder: Path, engine: str) -> None:
    """Train on more photos than the sketch has columns: a share of the variance could not be promised."""
    make_result(folder / "result", width=8200, noise=2.0, n_photos=32)
    vectors, labels = labelled(folder / "result")
    assert len(labels) > 540
    found = trained(folder / "result", folder / "out", 0.1, engine=engine, n_directions=16)
    assert found.coef.shape == (3, 8200) and accuracy(found, vectors, labels) > 0.97


def test_wide_vectors_are_sketched(tmp_path: Path) -> None:
    check_wide_vectors(tmp_path, LOCAL)


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_wide_vectors_are_sketched_on_spark(tmp_path: Path) -> None:
    check_wide_vectors(tmp_path, SPARK)


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    """Identical vectors in several folds make the accuracy too high; one group per photo prevents it."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(120):
        vector = rng.normal(0, 1, 80).astype(np.float32)
        for view in range(4):
            name = f"file:/photos/{n}__{view}.jpg"
            rows.append({"path": name, "label": ("Apple", "Pear")[n % 2], "features": vector})
    write_vectors(tmp_path / "result" / "features", rows, "features")
    (tmp_path / "result" / "manifest.json").write_text(json.dumps({"network": {"spec": SPEC}}))

    def held_out_accuracy(group: str) -> float:
        manifest = train_manifest(tmp_path / "result", tmp_path / group, 0.00003, group=group, n_folds=5)
        assert manifest.evaluation is not None and manifest.evaluation["n_photos"] == 480
        return float(manifest.evaluation["accuracy"])

    assert held_out_accuracy("none") > 0.95
    assert held_out_accuracy("photo") < 0.7


def test_the_regularisation_that_generalises_is_chosen(tmp_path: Path) -> None:
    make_result(tmp_path / "result", noise=9.0)
    found = trained(tmp_path / "result", tmp_path / "out", 0.00003, 0.3, group="none", n_folds=5)
    tried = json.loads((tmp_path / "out" / "evaluation.json").read_text())["cross_validation"]["tried"]
    best = max(tried, key=lambda score: (round(score["accuracy"], 4), -score["log_loss"]))
    assert [score["regularisation"] for score in tried] == [0.00003, 0.3]
    assert found.about["regularisation"] == best["regularisation"]


def test_a_label_missing_from_a_fold_gets_no_chance_there(tmp_path: Path) -> None:
    """Plum has one photo only: a regression that is fitted without it cannot name the label."""
    make_result(tmp_path / "result")
    vectors, _ = labelled(tmp_path / "result")
    kinds = ["Apple"] * 60 + ["Plum"] + ["Pear"] * (len(vectors) - 61)
    rows = [
        {"path": f"{n}.jpg", "label": kind, "features": vector}
        for n, (kind, vector) in enumerate(zip(kinds, vectors, strict=True))
    ]
    write_vectors(tmp_path / "odd" / "features", rows, "features")
    (tmp_path / "odd" / "manifest.json").write_text(json.dumps({"network": {"spec": SPEC}}))
    train_manifest(tmp_path / "odd", tmp_path / "out", group="none", n_folds=3)
    per_class = json.loads((tmp_path / "out" / "evaluation.json").read_text())["per_class"]
    assert {row["label"]: row["recall"] for row in per_class}["Plum"] == 0


def test_files_and_rows_are_read_in_order_without_the_unlabelled(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    examples = read_examples(tmp_path / "result", "features")
    vectors, labels = labelled(tmp_path / "result")
    assert examples.labels == labels and np.array_equal(np.concatenate(examples.blocks), vectors)
    assert examples.count_labels() == {"Apple": 40, "Pear": 60, "Plum": 80}


def test_evaluate_needs_no_spark_and_is_accurate_on_other_photos(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    trained(tmp_path / "result", tmp_path / "out")
    make_result(tmp_path / "other", seed=1)
    rows = [row for row in pq.read_table(tmp_path / "other" / "features").to_pylist() if row["features"]]
    (tmp_path / "other" / "features").rename(tmp_path / "old")
    write_vectors(tmp_path / "other" / "features", rows, "features")
    done = verger(
        "evaluate", "other", "judged", "--classifier", "out", "--json", cwd=tmp_path, JAVA_HOME="/nowhere"
    )
    assert done.returncode == 0, done.stderr
    evaluation = json.loads(done.stdout)["evaluation"]
    assert evaluation["accuracy"] > 0.97 and evaluation["n_photos"] == 180
    assert (tmp_path / "judged" / "report.html").is_file()
    again = verger("evaluate", "other", "judged", "--classifier", "out", cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr


@pytest.mark.parametrize("engine", [LOCAL, SPARK])
def test_features_and_classifiers_are_not_replaced_by_what_is_made_of_them(tmp_path: Path, engine: str) -> None:
    result = make_result(tmp_path / "result")
    classifier = tmp_path / "classifier"
    settings = load_settings(engine=engine, overwrite=True)
    for source in (result, result / "features"):
        with pytest.raises(ResultError, match="would replace the source"):
            train_result(source, result, settings, SilentProgress(), TrainOptions())
        with pytest.raises(ResultError, match="would replace the source"):
            evaluate_result(classifier, source, result, settings, SilentProgress())
    with pytest.raises(ResultError, match="would replace the source"):
        evaluate_result(classifier, result, classifier, settings, SilentProgress())


def test_wrong_arguments_of_train_are_reported(tmp_path: Path) -> None:
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
    done = verger("train", "result", "out", "--engine", "dask", cwd=tmp_path)
    assert done.returncode == 2 and "engine" in done.stderr and "'spark'" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_one_label_is_too_few(tmp_path: Path) -> None:
    make_result(tmp_path / "result", kinds=("Apple",))
    with pytest.raises(ClassifierError, match="at least two labels"):
        trained(tmp_path / "result", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("spark")
def test_the_command_trains(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    manifest = manifest_here("train", "result", "out", "--folds", "2", "--regularisation", "0.01", cwd=tmp_path)
    assert manifest["evaluation"]["accuracy"] > 0.97
