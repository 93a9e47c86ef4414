from __future__ import annotations

import json

import numpy as np
import pytest

from verger.kernel.classifier.classifier import Classifier
from verger.kernel.classifier.evaluation import Judgement, evaluate_groups, evaluate_levels, source_names
from verger.kernel.classifier.levels import NOT_A_FRUIT

LABELS = ("Apple Granny Smith", "Apple Royal Gala", "Lemon", NOT_A_FRUIT)
GRANNY, GALA, LEMON, OTHER = range(4)


def classifier(labels: tuple[str, ...] = LABELS) -> Classifier:
    shape = np.zeros((len(labels), 1), np.float32)
    return Classifier(labels, shape, shape[:, 0], 1, 0.6, {}, {}, variety_threshold=0.7)


def answers(*photos: dict[int, float], n_labels: int = 4) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return the probabilities of photos; each gives those of some labels."""
    rows = np.zeros((len(photos), n_labels), np.float32)
    for row, photo in zip(rows, photos, strict=True):
        for label, share in photo.items():
            row[label] = share
    return rows


# Two answers with a variety, one without, one that is wrong, one that is unsure, and one refusal.
PROBABILITIES = answers(
    {GRANNY: 0.8, LEMON: 0.2},
    {GALA: 0.9, LEMON: 0.1},
    {GRANNY: 0.5, GALA: 0.4, LEMON: 0.1},
    {LEMON: 0.7, OTHER: 0.3},
    {LEMON: 0.55, GALA: 0.45},
    {OTHER: 0.9, LEMON: 0.1},
)


def judged(*labels: str) -> Judgement:
    return Judgement.of(classifier(), PROBABILITIES, labels)


def test_labels_and_species_are_judged_apart() -> None:
    judgement = judged("Granny-Smith", "Apple Granny Smith", "apple", "not-a-fruit", "Lemon", "not-a-fruit")
    found = evaluate_levels(judgement, classifier().levels, 0.6)
    assert (found["n_photos"], found["accuracy"]) == (5, pytest.approx(3 / 5))  # "apple" names no variety
    assert (found["coverage"], found["accuracy_when_sure"]) == (pytest.approx(3 / 5), pytest.approx(1 / 3))
    species = found["species"]
    assert (species["n_photos"], species["accuracy"]) == (6, pytest.approx(5 / 6))
    assert (species["coverage"], species["accuracy_when_sure"]) == (pytest.approx(4 / 6), pytest.approx(3 / 4))
    assert species["n_not_fruit"] == 2 and species["has_varieties"]
    assert (species["fruit_answered"], species["others_refused"]) == (pytest.approx(3 / 4), 0.5)
    assert found["n_unknown_labels"] == species["n_unknown_labels"] == 0
    # The mark of the chosen threshold lies on the curve: only answers that name a fruit are on it.
    assert species["coverage_curve"][-1] == (pytest.approx(5 / 6), pytest.approx(4 / 5))
    json.dumps(found, allow_nan=False)


def test_labels_that_are_only_species_leave_the_labels_out() -> None:
    found = evaluate_levels(judged(*["apple"] * 6), classifier().levels, 0.6)
    assert found["n_photos"] == 6 and found["accuracy"] == found["species"]["accuracy"] == 0.5
    assert not found["species"]["has_varieties"]
    assert {row["label"] for row in found["per_class"]} == {"Apple", "Lemon", NOT_A_FRUIT}


def test_unknown_labels_are_errors_at_their_level() -> None:
    found = evaluate_levels(judged(*["Pink-Lady"] * 3, *["Mango"] * 3), classifier().levels, 0.6)
    assert found["accuracy"] == 0 and found["n_unknown_labels"] == 6 and found["macro_f1"] == 0
    assert found["species"]["accuracy"] == 0.5 and found["species"]["n_unknown_labels"] == 3
    assert found["per_class"] == [] and found["confusions"] == []
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:3]])
def test_photos_without_fruit_are_refused_or_errors(labels: tuple[str, ...]) -> None:
    probabilities = PROBABILITIES[:, : len(labels)]
    found = evaluate_levels(
        Judgement.of(classifier(labels), probabilities, ["Not a fruit"] * 6), classifier(labels).levels, 0.6
    )
    assert found["species"]["n_not_fruit"] == 6 and found["species"]["fruit_answered"] is None
    assert found["species"]["others_refused"] == pytest.approx(2 / 6)
    assert found["species"]["accuracy"] == pytest.approx(1 / 6 if NOT_A_FRUIT in labels else 0)
    assert found["species"]["accuracy_when_sure"] == 0
    json.dumps(found, allow_nan=False)


def test_without_varieties_both_levels_are_equal() -> None:
    labels = ("cat", "dog", "Lemon", "rat")
    found = evaluate_levels(
        Judgement.of(classifier(labels), PROBABILITIES, ["cat", *["Lemon"] * 5]), classifier(labels).levels, 0.6
    )
    assert not found["species"]["has_varieties"]
    for key in ("accuracy", "accuracy_95", "top3", "ece", "coverage", "accuracy_when_sure", "coverage_curve"):
        assert found[key] == found["species"][key], key
    assert found["per_class"][0]["n_photos"] == 1  # a class of one photo
    json.dumps(found, allow_nan=False)


def test_sums_above_one_leave_the_error_of_chance_a_number() -> None:
    labels = tuple(f"Apple {name}" for name in ("Braeburn", "Red", "Pink Lady", "Red Delicious", "Crimson Snow"))
    probabilities = np.full((3, 5), np.nextafter(np.float32(0.2), np.float32(1)))
    judgement = Judgement.of(classifier(labels), probabilities, [labels[0]] * 3)
    found = evaluate_levels(judgement, classifier(labels).levels, 0.6)
    assert found["species"]["ece_by_chance"] == found["species"]["ece"] == 0


def test_parts_and_groups_make_the_whole() -> None:
    labels = ["Granny-Smith", "Royal-Gala", "apple", "not-a-fruit", "Lemon", "not-a-fruit"]
    whole = judged(*labels)
    parts = [Judgement.of(classifier(), PROBABILITIES[rows], labels[rows]) for rows in (slice(0, 2), slice(2, 6))]
    assert evaluate_levels(Judgement.concatenate(parts), classifier().levels, 0.6) == evaluate_levels(
        whole, classifier().levels, 0.6
    )
    groups = evaluate_groups(whole, ["shop", "shop", "flickr", "flickr", "flickr", "flickr"])
    assert [(row["group"], row["n_photos"], row["n_named"]) for row in groups] == [("flickr", 4, 3), ("shop", 2, 2)]
    assert [row["accuracy"] for row in groups] == [pytest.approx(2 / 3), 1]
    assert [row["others_refused"] for row in groups] == [0.5, None]
    (nothing,) = evaluate_groups(judged(*["apple"] * 6), ["all"] * 6)
    assert nothing["n_named"] == 0 and nothing["accuracy"] is None


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["p/shops/Apple/1.jpg", "p/flickr/Apple/2.jpg"], ["shops", "flickr"]),
        (["p/Apple/1.jpg", "p/Pear/1.jpg", "p/1.jpg"], ["Apple", "Pear", ""]),
        (["s3://b/x/a/1.jpg", "s3://b/y/1.jpg"], ["x", "y"]),
        (["p/Apple/1.jpg", "p/Apple/2.jpg"], ["", ""]),
        (["1.jpg"], [""]),
    ],
)
def test_the_source_of_a_photo_is_the_first_folder_that_differs(paths: list[str], names: list[str]) -> None:
    assert source_names(paths) == names
