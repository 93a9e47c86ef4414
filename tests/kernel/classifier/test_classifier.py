from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verger.errors import ClassifierError
from verger.kernel.classifier.classifier import (
    BUNDLED,
    NOT_FRUIT,
    SURE,
    UNSURE,
    Classifier,
    Floats,
    classifier_path,
    load_classifier,
    softmax,
)
from verger.kernel.classifier.levels import NOT_A_FRUIT, Ints, levels_of
from verger.kernel.classifier.metrics import (
    Answers,
    calibration_error,
    calibration_error_by_chance,
    evaluate_answers,
    wilson,
)
from verger.kernel.classifier.temperature import calibrate, choose_threshold, fit_temperature

# Two varieties and a general label of one species, a species with one label, and no fruit.
LABELS = ("Grape Blue", "Grape Pink", "Grape White", "Grape", "Lemon", NOT_A_FRUIT)


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


def test_a_missing_classifier_names_what_makes_one_and_the_bundled_ones(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match=r"verger train.*fruitnet"):
        load_classifier(tmp_path)
    with pytest.raises(ClassifierError, match=r"frutinet holds no classifier.*fruitnet"):
        load_classifier(classifier_path("frutinet"))


def test_bundled_classifiers_have_names_unless_a_folder_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, folder in BUNDLED.items():
        assert classifier_path(name) == folder and load_classifier(folder).network["model"]
    assert load_classifier().labels == load_classifier(classifier_path(None)).labels
    (tmp_path / "fruitnet").mkdir()
    classifier().save(tmp_path / "fruitnet" / "classifier.npz")
    assert load_classifier(classifier_path("fruitnet")).network == {"model": "x"}


def test_both_thresholds_are_saved_and_old_files_have_half(tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    replace(classifier(), variety_threshold=0.75).save(path)
    assert load_classifier(path).variety_threshold == 0.75
    with np.load(path) as file:
        arrays = dict(file)
    attributes = json.loads(str(arrays["attributes"]))
    del attributes["variety_threshold"]
    np.savez(path, **(arrays | {"attributes": np.array(json.dumps(attributes))}))
    assert load_classifier(path).variety_threshold == 0.5


@pytest.mark.parametrize(
    ("probabilities", "decision", "named"),
    [
        # Blue, pink, white, any grape, lemon, not a fruit
        ([0.60, 0.10, 0.05, 0.05, 0.10, 0.10], SURE, "Grape Blue"),
        ([0.30, 0.25, 0.10, 0.15, 0.10, 0.10], SURE, None),
        ([0.01, 0.00, 0.00, 0.89, 0.05, 0.05], SURE, "Grape Blue"),
        ([0.05, 0.05, 0.05, 0.05, 0.70, 0.10], SURE, "Lemon"),
        ([0.20, 0.10, 0.05, 0.05, 0.35, 0.25], UNSURE, None),
        ([0.10, 0.10, 0.10, 0.05, 0.25, 0.40], NOT_FRUIT, None),
        ([0.00, 0.00, 0.00, 0.00, 0.01, 0.99], NOT_FRUIT, None),
    ],
)
def test_a_species_is_named_first_and_then_its_variety(
    probabilities: list[float], decision: str, named: str | None
) -> None:
    shape = np.zeros((len(LABELS), 1), np.float32)
    found = Classifier(LABELS, shape, shape[:, 0], 1, 0.6, {}, {}, variety_threshold=0.7)
    decisions = found.decide(np.array([probabilities], np.float32))
    assert decisions.describe(0) == decision
    assert decisions.names_label[0] == (named is not None)
    assert named is None or LABELS[decisions.ranked.variety[0]] == named


def test_no_variety_is_named_if_another_species_label_is_more_probable() -> None:
    shape = np.zeros((3, 1), np.float32)
    labels = ("Grape Blue", "Grape Pink", "Lemon")
    found = Classifier(labels, shape, shape[:, 0], 1, 0.5, {}, {}, variety_threshold=0)
    decisions = found.decide(np.array([[0.3, 0.26, 0.44], [0.45, 0.25, 0.3]], np.float32))
    assert decisions.is_sure.tolist() == [True, True]
    assert decisions.names_label.tolist() == [False, True]


def test_temperature_makes_confidence_equal_accuracy() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    truth = np.array([rng.choice(5, p=p / p.sum()) for p in softmax(honest).astype(np.float64)])
    boasting = honest * 3
    assert fit_temperature(boasting, truth, levels_of(tuple("abcde"))) == pytest.approx(3, rel=0.05)
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
    confidence = np.array([share for share, _ in answers], np.float32)
    is_right = np.array([right for _, right in answers])
    kept = confidence >= choose_threshold(confidence, is_right, wanted)
    assert not kept.any() or is_right[kept].mean() >= wanted - 1e-9
    if is_right.mean() >= wanted:
        assert kept.all()


def held_out(seed: int, noise: float) -> tuple[Floats, Ints]:
    """Return logits of photos of fruit and other things, with their true labels (see LABELS)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(LABELS), 400)
    logits = rng.normal(0, noise, (400, len(LABELS)))
    logits[np.arange(400), truth] += 2
    return logits.astype(np.float32), truth


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.3, 3), st.floats(0.3, 1))
def test_named_species_and_varieties_are_as_accurate_as_asked(seed: int, noise: float, wanted: float) -> None:
    logits, truth = held_out(seed, noise)
    levels = levels_of(LABELS)
    fitted = calibrate(logits, truth, wanted, levels)
    shape = np.zeros((len(LABELS), 1), np.float32)
    found = Classifier(LABELS, shape, shape[:, 0], threshold=2, network={}, about={}, temperature=1)
    decisions = replace(found, **asdict(fitted)).decide(softmax(logits / np.float32(fitted.temperature)))
    best, is_sure = decisions.ranked.best, decisions.is_sure
    assert not is_sure.any() or (best == levels.species_of[truth])[is_sure].mean() >= wanted - 1e-9
    assert not levels.is_fruit[levels.species_of[LABELS.index(NOT_A_FRUIT)]]
    assert not is_sure[best == levels.species.index(NOT_A_FRUIT)].any()
    # Among right species that have several varieties and whose variety is known.
    rows = decisions.names_label & (best == levels.species_of[truth]) & np.isin(truth, [0, 1, 2])
    assert not rows.any() or (decisions.ranked.variety == truth)[rows].mean() >= wanted - 1e-9
    assert not decisions.names_label[~is_sure].any()


def test_other_photos_taken_for_fruit_raise_the_threshold() -> None:
    labels, levels = ("Lemon", NOT_A_FRUIT), levels_of(("Lemon", NOT_A_FRUIT))
    confidence = np.linspace(0.5, 6, 100, dtype=np.float32)
    logits = np.stack([confidence, np.zeros_like(confidence)], axis=1)
    fruit = np.zeros(100, np.int64)
    assert calibrate(logits, fruit, 0.95, levels).threshold == 0
    is_other = np.arange(100) < 30  # the 30 photos with the lowest confidence show no lemon
    fitted = calibrate(logits, np.where(is_other, labels.index(NOT_A_FRUIT), 0), 1.0, levels)
    named = softmax(logits / np.float32(fitted.temperature))[:, 0] >= fitted.threshold
    assert (named == ~is_other).all()


def test_varieties_are_named_by_a_threshold_of_their_own() -> None:
    """The species is always right. The variety is right only if its share is high."""
    levels = levels_of(("Apple Braeburn", "Apple Red", "Lemon"))
    share = np.linspace(0.51, 0.99, 100).astype(np.float32)
    logits = np.log(np.stack([share, 1 - share, np.full_like(share, 1e-6)], axis=1)).astype(np.float32)
    lemons = np.tile(np.log(np.array([[1e-6, 1e-6, 1]], np.float32)), (500, 1))
    truth = np.concatenate([np.where(share > 0.8, 0, 1), np.full(500, 2)])
    fitted = calibrate(np.concatenate([logits, lemons]), truth, 1.0, levels)
    assert fitted.threshold == 0
    ranked = levels.rank(softmax(logits / np.float32(fitted.temperature)))
    assert ((ranked.variety_share >= fitted.variety_threshold) == (share > 0.8)).all()


def test_figures_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 2, (500, 6)).astype(np.float32))
    truth = rng.integers(0, 6, 500)
    answers = Answers.from_probabilities(probabilities, truth)
    is_sure = answers.confidence >= 0.6
    found = evaluate_answers(answers, tuple("abcdef"), 0.6, is_sure, np.ones(500, bool))
    named = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, named))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, named, average="macro"))
    assert found["top3"] == pytest.approx(metrics.top_k_accuracy_score(truth, probabilities, k=3))
    recalls = metrics.recall_score(truth, named, average=None)
    assert [row["recall"] for row in found["per_class"]] == pytest.approx(list(recalls))
    assert sum(n for _, _, n in found["confusions"]) == 500
    assert found["coverage"] == pytest.approx((probabilities.max(axis=1) >= 0.6).mean())
    assert found["accuracy_when_sure"] == pytest.approx(metrics.accuracy_score(truth[is_sure], named[is_sure]))
    assert found["coverage_curve"][-1] == (1, pytest.approx(found["accuracy"]))


def test_a_label_the_classifier_does_not_know_counts_as_wrong() -> None:
    answers = Answers.from_probabilities(np.array([[0.9, 0.1]] * 4, np.float32), np.array([0, 0, 0, -1]))
    found = evaluate_answers(answers, ("a", "b"), 0, np.ones(4, bool), np.ones(4, bool))
    assert found["accuracy"] == 0.75 and found["n_unknown_labels"] == 1 and found["top3"] == 0.75


def test_the_coverage_curve_counts_only_answers_that_name_a_fruit() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], np.float32)
    answers = Answers.from_probabilities(probabilities, np.array([0, 1, 1, 1]))
    names_fruit = np.array([True, True, False, False])
    found = evaluate_answers(answers, ("Lemon", NOT_A_FRUIT), 0, names_fruit, names_fruit)
    assert found["coverage_curve"] == [(0.25, 1), (0.5, 0.5)]
    assert (found["coverage"], found["accuracy_when_sure"], found["accuracy"]) == (0.5, 0.5, 0.75)
    refused = evaluate_answers(answers, ("Lemon", NOT_A_FRUIT), 0, np.zeros(4, bool), np.zeros(4, bool))
    assert refused["coverage_curve"] == [] and refused["accuracy_when_sure"] is None


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Brown, Cai, DasGupta 2001 and statsmodels' proportion_confint(8, 10, method="wilson")
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(10, 10)[1] == pytest.approx(1.0) and wilson(0, 10)[0] == pytest.approx(0.0)
