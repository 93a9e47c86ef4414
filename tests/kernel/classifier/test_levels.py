from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from verger.kernel.classifier.classifier import softmax
from verger.kernel.classifier.levels import NOT_A_FRUIT, Floats, levels_of, species_name

LABELS = ("Grape Blue", "Lemon", "Grape", "Grape Pink", "Not-a-fruit", "Triffid")


def test_labels_of_one_species_share_it_and_others_are_their_own() -> None:
    levels = levels_of(LABELS)
    assert levels.species == ("Grape", "Lemon", NOT_A_FRUIT, "Triffid")
    assert [levels.species[i] for i in levels.species_of] == [
        *("Grape", "Lemon", "Grape", "Grape", NOT_A_FRUIT, "Triffid")
    ]
    assert levels.is_fruit.tolist() == [True, True, False, True]
    assert levels.n_varieties.tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("labels", "general"),
    [
        (("Grape", "Grape Blue"), ["Grape"]),
        (("Grape", "Lemon"), []),  # the only label of its species
        (("apple", "Apple"), []),  # the same species twice, without varieties
        (("apple", "Royal-Gala", "Granny-Smith"), ["apple"]),
        (("Banana", "Banana Red"), []),  # Fruits-360 has the plain banana as a variety
    ],
)
def test_a_general_label_needs_varieties_beside_it(labels: tuple[str, ...], general: list[str]) -> None:
    levels = levels_of(labels)
    assert [label for label, is_general in zip(labels, levels.is_general, strict=True) if is_general] == general


@pytest.mark.parametrize(
    ("label", "species"),
    [
        ("Apple Granny Smith", "Apple"),
        ("Granny-Smith", "Apple"),
        ("watermelon", "Watermelon"),
        ("not_a_fruit", NOT_A_FRUIT),
        ("Not A Fruit", NOT_A_FRUIT),
        ("my own fruit", "my own fruit"),
    ],
)
def test_the_species_of_a_label(label: str, species: str) -> None:
    assert species_name(label) == species


@given(arrays(np.float32, (7, len(LABELS)), elements=st.floats(-60, 60, width=32)))
def test_both_levels_have_probabilities_that_agree(logits: Floats) -> None:
    levels, probabilities = levels_of(LABELS), softmax(logits)
    species, labels = levels.species_probabilities(probabilities), levels.label_probabilities(probabilities)
    for shares in (species, labels):
        assert (shares >= 0).all() and (shares <= 1).all() and np.isfinite(shares).all()
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (labels[:, levels.is_general] == 0).all()
    assert np.allclose(levels.species_probabilities(labels), species, atol=1e-5)
    assert np.allclose(species[:, 0], probabilities[:, [0, 2, 3]].sum(axis=1), atol=1e-5)
    ranked = levels.rank(probabilities)
    assert (levels.species_of[ranked.variety] == ranked.best).all()


def test_the_probability_of_a_general_label_is_divided_in_proportion() -> None:
    levels = levels_of(("Grape", "Grape Blue", "Grape Pink"))
    labels = levels.label_probabilities(np.array([[0.6, 0.3, 0.1], [1, 0, 0]], np.float32))
    assert np.allclose(labels, [[0, 0.75, 0.25], [0, 0.5, 0.5]], atol=1e-5)


def test_without_general_labels_probabilities_keep_their_bits() -> None:
    probabilities = softmax(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    assert levels_of(("a", "b", "c")).label_probabilities(probabilities).tobytes() == probabilities.tobytes()
