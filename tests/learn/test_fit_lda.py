"""lda by tasks: the same as scikit-learn on all rows, and the same bits on both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmarks.lda import write_features
from typer.testing import CliRunner

from tests.support.chain import verger
from tests.support.labelled_vectors import (
    KINDS,
    N_FEATURES,
    SPEC,
    labelled,
    make_components,
    make_result,
    write_vectors,
)
from tests.support.memory import peaks_of
from verger.cli import app
from verger.engine.choice import LOCAL, SPARK
from verger.errors import ClassifierError, SettingsError
from verger.kernel.classifier.classifier import Classifier, Floats, load_classifier, softmax
from verger.kernel.classifier.transforms import transform
from verger.learn.classifier_jobs import train_result
from verger.learn.fit_local import LocalExamples
from verger.learn.train import plan_training
from verger.learn.training_options import TrainOptions
from verger.process.progress import SilentProgress
from verger.settings import load_settings


@pytest.fixture
def many_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each task sum seven rows, so that the sums are merged in a tree."""
    monkeypatch.setattr("verger.learn.fit_lda.rows_per_class_sum", lambda n_rows, width: 7)


def trained(
    result: Path, out: Path, *shrinkages: float, engine: str = LOCAL, **options: Any
) -> tuple[Classifier, dict[str, Any]]:
    """Train lda; return the classifier and its evaluation."""
    chosen = TrainOptions(classifier="lda", shrinkages=shrinkages or (0.1,), **{"n_folds": 3, **options})
    train_result(result, out, load_settings(engine=engine), SilentProgress(), chosen)
    return load_classifier(out), json.loads((out / "evaluation.json").read_text())


def write_result(folder: Path, paths: list[str], labels: list[str], vectors: Floats) -> Path:
    """A result of `verger features` with these photos."""
    rows = [
        {"path": path, "label": label, "features": vector}
        for path, label, vector in zip(paths, labels, vectors, strict=True)
    ]
    write_vectors(folder / "features", rows, "features")
    (folder / "manifest.json").write_text(json.dumps({"network": {"spec": SPEC}}))
    return folder


def scikit_learns(vectors: Floats, labels: list[str], shrinkage: float) -> Any:
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    return analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(
        vectors.astype(np.float64), labels
    )


def test_a_trained_classifier_names_the_fruit_and_records_the_choice(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    found, evaluation = trained(tmp_path / "result", tmp_path / "out", 0.05, 0.5)
    assert found.labels == KINDS and found.network == SPEC and found.transform == "signed-sqrt"
    assert found.about["classifier"] == "lda" and found.about["priors"] == "uniform"
    vectors, labels = labelled(tmp_path / "result")
    named = [KINDS[i] for i in found.probabilities(vectors).argmax(axis=1)]
    assert np.mean([name == label for name, label in zip(named, labels, strict=True)]) > 0.97
    assert evaluation["n_photos"] == 180 and evaluation["accuracy"] > 0.97
    choice = evaluation["cross_validation"]
    assert (choice["classifier"], choice["transform"], choice["n_folds"]) == ("lda", "signed-sqrt", 3)
    assert [score["shrinkage"] for score in choice["tried"]] == [0.05, 0.5]
    assert choice["shrinkage"] == found.about["shrinkage"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["evaluation"]["cross_validation"] == choice
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"<dt>shrinkage</dt><dd>{choice['shrinkage']}</dd>" in page and "signed-sqrt" in page


@pytest.mark.usefixtures("many_sums")
@pytest.mark.parametrize("kinds", [KINDS, KINDS[:2]], ids=["three labels", "two labels"])
@pytest.mark.parametrize("name", ["none", "signed-sqrt"])
def test_probabilities_are_those_of_scikit_learn(tmp_path: Path, kinds: tuple[str, ...], name: str) -> None:
    make_result(tmp_path / "result", noise=3.0, kinds=kinds)
    vectors, labels = labelled(tmp_path / "result")
    found, _ = trained(tmp_path / "result", tmp_path / "out", 0.2, transform=name, priors="empirical")
    theirs = scikit_learns(transform(name, vectors), labels, 0.2)
    expected = theirs.predict_proba(transform(name, vectors))
    assert np.abs(softmax(found.logits(vectors)) - expected).max() < 1e-4


@pytest.mark.usefixtures("many_sums")
def test_held_out_photos_are_scored_by_a_fit_on_the_other_folds(tmp_path: Path) -> None:
    """Accuracy and log loss of each shrinkage are those of separate fits with scikit-learn."""
    result = make_result(tmp_path / "result", noise=6.0, n_photos=20)
    _, evaluation = trained(result, tmp_path / "out", 0.02, 0.5, priors="empirical", transform="none")
    vectors, labels = labelled(result)
    rows = [row for row in pq.read_table(result / "features").to_pylist() if row["label"] and row["features"]]
    examples = LocalExamples("features", [row["path"] for row in rows], labels, [])
    plan = plan_training(examples, TrainOptions(n_folds=3))
    folds = np.array([plan.fold_of(row["path"], row["label"]) for row in rows])
    truth = np.array([plan.classes[label] for label in labels])
    assert set(folds) == {0, 1, 2}
    for tried in evaluation["cross_validation"]["tried"]:
        chances = np.zeros((len(rows), len(KINDS)))
        for fold in range(3):
            is_own = folds == fold
            others = [label for label, own in zip(labels, is_own, strict=True) if not own]
            chances[is_own] = scikit_learns(vectors[~is_own], others, tried["shrinkage"]).predict_proba(
                vectors[is_own].astype(np.float64)
            )
        assert tried["accuracy"] == pytest.approx((chances.argmax(axis=1) == truth).mean())
        expected = -np.log(chances[np.arange(len(rows)), truth]).mean()
        assert tried["log_loss"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.core
@pytest.mark.usefixtures("spark", "many_sums")
def test_both_engines_write_the_same_classifier(tmp_path: Path) -> None:
    make_result(tmp_path / "result", noise=3.0)
    local, local_evaluation = trained(tmp_path / "result", tmp_path / "local", 0.02, 0.3)
    spark, spark_evaluation = trained(tmp_path / "result", tmp_path / "spark", 0.02, 0.3, engine=SPARK)
    assert (tmp_path / "local" / "classifier.npz").read_bytes() == (
        tmp_path / "spark" / "classifier.npz"
    ).read_bytes()
    assert local_evaluation == spark_evaluation and local.about == spark.about


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    """Identical vectors in several folds make the accuracy too high; one group per photo prevents it."""
    rng = np.random.default_rng(0)
    photos = [(n, view) for n in range(120) for view in range(4)]
    vectors = np.repeat(rng.normal(0, 1, (120, 80)), 4, axis=0).astype(np.float32)
    paths = [f"file:/photos/{n}__{view}.jpg" for n, view in photos]
    write_result(tmp_path / "result", paths, [("Apple", "Pear")[n % 2] for n, _ in photos], vectors)
    accuracy = {
        group: trained(tmp_path / "result", tmp_path / group, 0.01, group=group)[1]["accuracy"]
        for group in ("none", "photo")
    }
    assert accuracy["none"] > 0.8 and accuracy["photo"] < 0.7


def test_photos_of_a_shop_do_not_help_to_name_others_of_this_shop(tmp_path: Path) -> None:
    """Every fruit looks different in each shop, so that a shop that was left out can only be guessed."""
    rng = np.random.default_rng(0)
    shops = ("ica", "coop", "willys", "lidl")
    looks = {(shop, kind): rng.normal(0, 1, 60) for shop in shops for kind in KINDS}
    photos = [(shop, kind, n) for shop, kind in looks for n in range(20)]
    vectors = np.array([looks[shop, kind] + rng.normal(0, 0.3, 60) for shop, kind, _ in photos], np.float32)
    paths = [f"file:/{shop}/{kind}/{n}.jpg" for shop, kind, n in photos]
    result = write_result(tmp_path / "result", paths, [kind for _, kind, _ in photos], vectors)
    _, mixed = trained(result, tmp_path / "mixed", group="none")
    rule = "regex:/([^/]+)/[^/]+/[^/]+$"
    _, left_out = trained(result, tmp_path / "left-out", group=rule, leaves_groups_out=True)
    assert left_out["cross_validation"]["n_folds"] == 4 and left_out["n_photos"] == mixed["n_photos"] == 240
    assert mixed["accuracy"] > 0.95 and left_out["accuracy"] < 0.6


def test_a_classifier_trained_on_components_takes_features(tmp_path: Path) -> None:
    make_components(make_result(tmp_path / "result"))
    found, evaluation = trained(tmp_path / "result", tmp_path / "out", column="components")
    assert found.coef.shape == (3, N_FEATURES) and found.about["on"] == "components"
    assert found.transform == "none" and evaluation["accuracy"] > 0.97
    vectors, labels = labelled(tmp_path / "result")
    named = [KINDS[i] for i in found.logits(vectors).argmax(axis=1)]
    assert np.mean([name == label for name, label in zip(named, labels, strict=True)]) > 0.97


def test_a_label_with_one_photo_is_trained_but_not_found_when_held_out(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    vectors, _ = labelled(tmp_path / "result")
    kinds = ["Apple"] * 60 + ["Plum"] + ["Pear"] * (len(vectors) - 61)
    write_result(tmp_path / "odd", [f"{n}.jpg" for n in range(len(kinds))], kinds, vectors)
    found, evaluation = trained(tmp_path / "odd", tmp_path / "out", group="none")
    assert {row["label"]: row["recall"] for row in evaluation["per_class"]}["Plum"] == 0
    assert np.isfinite(found.intercept).all() and found.labels == ("Apple", "Pear", "Plum")


def test_photos_of_only_two_are_too_few_to_cross_validate(tmp_path: Path) -> None:
    vectors = np.eye(2, 5, dtype=np.float32)
    write_result(tmp_path / "result", ["a/1.jpg", "b/2.jpg"], ["a", "b"], vectors)
    with pytest.raises(ClassifierError, match=r"one fold|two different photos"):
        trained(tmp_path / "result", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_features_that_are_not_numbers_are_reported(tmp_path: Path) -> None:
    vectors = np.ones((8, 3), np.float32)
    vectors[5, 1] = np.nan
    write_result(tmp_path / "result", [f"{n}.jpg" for n in range(8)], ["a", "b"] * 4, vectors)
    with pytest.raises(ClassifierError, match="NaN or infinity in 1 of 8"):
        trained(tmp_path / "result", tmp_path / "out")


def test_wide_vectors_are_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    make_result(tmp_path / "result", width=8200, n_photos=1)
    with pytest.raises(ClassifierError, match=r"up to 8,192 .*8,200.*--classifier logistic"):
        trained(tmp_path / "result", tmp_path / "out")


@pytest.mark.parametrize("engine", [LOCAL, pytest.param(SPARK, marks=pytest.mark.slow)])
def test_a_logistic_regression_can_transform_features_too(tmp_path: Path, spark: object, engine: str) -> None:
    make_result(tmp_path / "result")
    options = TrainOptions(n_folds=2, regularisations=(0.01,), transform="l2")
    train_result(tmp_path / "result", tmp_path / "out", load_settings(engine=engine), SilentProgress(), options)
    found = load_classifier(tmp_path / "out")
    vectors, labels = labelled(tmp_path / "result")
    assert found.transform == "l2"
    assert np.allclose(found.probabilities(vectors), found.probabilities(vectors * 7), atol=1e-4)
    named = [KINDS[i] for i in found.probabilities(vectors).argmax(axis=1)]
    assert np.mean([name == label for name, label in zip(named, labels, strict=True)]) > 0.97


def test_the_command_trains_lda(tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    flags = ("--classifier", "lda", "--shrinkage", "0.1,0.2", "--transform", "l2", "--folds", "2", "--json")
    done = verger("train", "result", "out", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    choice = json.loads(done.stdout)["evaluation"]["cross_validation"]
    assert (choice["transform"], [score["shrinkage"] for score in choice["tried"]]) == ("l2", [0.1, 0.2])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--classifier", "svm"), "classifier = 'svm' is not valid: expected one of logistic, lda"),
        (("--classifier", "lda", "--shrinkage", "0,0.1"), "over 0 and at most 1"),
        (("--classifier", "lda", "--shrinkage", "a"), "shrinkage = 'a'"),
        (("--shrinkage", "0.1"), "because classifier = logistic"),
        (("--classifier", "lda", "--regularisation", "0.1"), "because classifier = lda"),
        (("--classifier", "lda", "--priors", "flat"), "one of uniform, empirical"),
        (("--transform", "cube"), "transform = 'cube' is not valid: expected one of none, l2, signed-sqrt"),
        (("--on", "components", "--transform", "l2"), "transform = 'l2'"),
        (("--folds", "groups", "--group", "none"), "folds = 'groups'"),
        (("--folds", "some"), "folds = 'some' is not valid: expected 2 or more, or groups"),
    ],
)
def test_wrong_flags_are_reported(
    flags: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_result(tmp_path / "result").parent)
    done = CliRunner().invoke(app, ["train", "result", "out", *flags])
    assert done.exit_code != 0 and isinstance(done.exception, SettingsError | SystemExit)
    assert words in f"{done.exception} {' '.join(done.output.split())}"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_memory_does_not_grow_with_the_photos(tmp_path: Path) -> None:
    """80,000 vectors take 0.3 GB more than 20,000: 150 MB more for each of two workers, if they were kept."""
    peaks = {}
    for n in (20_000, 80_000):
        write_features(tmp_path / f"{n}", n)
        flags = ("--classifier", "lda", "--engine", "local", "--workers", 2)
        peaks[n] = peaks_of("train", f"{n}", f"out-{n}", *flags, "--no-report", cwd=tmp_path)
    assert 0 < peaks[80_000].worker < peaks[20_000].worker + 100
    assert 0 < peaks[80_000].driver < peaks[20_000].driver + 100
