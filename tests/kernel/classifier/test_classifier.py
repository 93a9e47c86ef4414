from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verger.errors import ClassifierError
from verger.kernel.classifier.classifier import Classifier, load_classifier, softmax
from verger.kernel.classifier.metrics import (
    Answers,
    calibration_error,
    calibration_error_by_chance,
    evaluate_answers,
    wilson,
)
from verger.kernel.classifier.temperature import choose_threshold, fit_temperature


def classifier(threshold: float = 0.5, transform: str = "none") -> Classifier:
    coef, labels = np.array([[1, 0, 0], [0, 1, 0]], np.float32), ("ap\u00fcle", "pear")
    return Classifier(labels, coef, np.zeros(2, np.float32), 2.0, threshold, {"model": "x"}, {"n": 3}, transform)


def test_a_classifier_is_equal_after_saving_and_loading(tmp_path: Path) -> None:
    before = classifier()
    before.save(tmp_path / "classifier.npz")
    for path in (tmp_path, tmp_path / "classifier.npz"):
        after = load_classifier(path)
        assert after.labels == before.labels and after.network == before.network and after.about == before.about
        assert (after.temperature, after.threshold) == (2.0, 0.5)
        vectors = np.eye(3, dtype=np.float32)
        assert (after.probabilities(vectors) == before.probabilities(vectors)).all()


def test_a_classifier_transforms_features_itself(tmp_path: Path) -> None:
    before = classifier(transform="l2")
    before.save(tmp_path / "classifier.npz")
    after = load_classifier(tmp_path)
    assert after.transform == "l2"
    vectors = np.array([[3, 4, 0], [0.3, 0.4, 0]], np.float32)
    assert np.allclose(after.logits(vectors), [[0.6, 0.8], [0.6, 0.8]])


def test_a_file_without_a_transform_has_none(tmp_path: Path) -> None:
    """As written by versions that had no transforms."""
    path = tmp_path / "classifier.npz"
    classifier().save(path)
    with np.load(path) as file:
        arrays = dict(file)
    attributes = json.loads(str(arrays["attributes"]))
    assert attributes.pop("transform") == "none"
    np.savez(path, **(arrays | {"attributes": np.array(json.dumps(attributes))}))
    assert load_classifier(path).transform == "none"
    np.savez(path, **(arrays | {"attributes": np.array(json.dumps(attributes | {"transform": "cube"}))}))
    with pytest.raises(ClassifierError, match=r"'cube'.*none, l2, signed-sqrt"):
        load_classifier(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not quite", None])
def test_other_files_are_no_classifiers(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    if content is None:
        np.savez(path, coef=np.zeros((2, 2)))
    else:
        path.write_bytes(content)
    with pytest.raises(ClassifierError, match=r"classifier\.npz is not a classifier"):
        load_classifier(path)


def test_a_missing_classifier_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="verger train"):
        load_classifier(tmp_path)


def test_temperature_makes_confidence_equal_accuracy() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    truth = np.array([rng.choice(5, p=p / p.sum()) for p in softmax(honest).astype(np.float64)])
    boasting = honest * 3
    assert fit_temperature(boasting, truth) == pytest.approx(3, rel=0.05)
    for scale, expected in ((1, "more"), (3, "little")):
        answers = Answers.from_probabilities(softmax((boasting / scale).astype(np.float32)), truth)
        error = calibration_error(answers.confidence, answers.is_right)
        assert error > 0.1 if expected == "more" else error < 0.02


@pytest.mark.parametrize("n", [100, 1_000, 10_000])
def test_a_calibrated_classifier_shows_the_error_of_chance_on_few_photos(n: int) -> None:
    rng = np.random.default_rng(n)
    confidence = rng.beta(2, 1, n).astype(np.float32)
    shown = [calibration_error(confidence, rng.random(n) < confidence) for _ in range(200)]
    assert calibration_error_by_chance(confidence) == pytest.approx(np.mean(shown), rel=0.1)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(0.3, 1), st.booleans()), min_size=1, max_size=60), st.floats(0.1, 1))
def test_answers_over_the_threshold_are_right_as_often_as_asked(
    answers: list[tuple[float, bool]], wanted: float
) -> None:
    sure = np.array([share for share, _ in answers], np.float32)
    probabilities = np.stack([sure, np.full_like(sure, 0.0)], axis=1)
    truth = np.array([0 if is_right else 1 for _, is_right in answers])
    kept = sure >= choose_threshold(probabilities, truth, wanted)
    assert not kept.any() or (truth[kept] == 0).mean() >= wanted - 1e-9
    if (truth == 0).mean() >= wanted:
        assert kept.all()


def test_figures_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 2, (500, 6)).astype(np.float32))
    truth = rng.integers(0, 6, 500)
    found = evaluate_answers(Answers.from_probabilities(probabilities, truth), tuple("abcdef"), threshold=0.6)
    named = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, named))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, named, average="macro"))
    assert found["top3"] == pytest.approx(metrics.top_k_accuracy_score(truth, probabilities, k=3))
    recalls = metrics.recall_score(truth, named, average=None)
    assert [row["recall"] for row in found["per_class"]] == pytest.approx(list(recalls))
    assert sum(n for _, _, n in found["confusions"]) == 500
    assert found["coverage"] == pytest.approx((probabilities.max(axis=1) >= 0.6).mean())


def test_a_label_the_classifier_does_not_know_counts_as_wrong() -> None:
    answers = Answers.from_probabilities(np.array([[0.9, 0.1]] * 4, np.float32), np.array([0, 0, 0, -1]))
    found = evaluate_answers(answers, ("a", "b"), threshold=0)
    assert found["accuracy"] == 0.75 and found["n_unknown_labels"] == 1 and found["top3"] == 0.75


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Brown, Cai, DasGupta 2001 and statsmodels' proportion_confint(8, 10, method="wilson")
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(10, 10)[1] == pytest.approx(1.0) and wilson(0, 10)[0] == pytest.approx(0.0)
