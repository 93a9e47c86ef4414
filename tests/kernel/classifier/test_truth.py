from __future__ import annotations

import pytest

from verger.kernel.classifier.levels import NOT_A_FRUIT, levels_of
from verger.kernel.classifier.truth import truth_of

VARIETIES = ("Apple Granny Smith", "Apple Royal Gala", "Grape", "Grape Blue", "Lemon", NOT_A_FRUIT)


@pytest.mark.parametrize(
    ("labels", "label", "meant", "species", "names_label"),
    [
        (VARIETIES, "Lemon", "Lemon", "Lemon", True),
        (VARIETIES, "Granny-Smith", "Apple Granny Smith", "Apple", True),
        (VARIETIES, "apple", None, "Apple", False),  # a species
        (VARIETIES, "grape", "Grape", "Grape", False),  # a label that means any grape
        (VARIETIES, "Pink-Lady", None, "Apple", True),  # another variety: no label is right
        (VARIETIES, "banana", None, None, True),  # another species
        (VARIETIES, "not_a_fruit", NOT_A_FRUIT, NOT_A_FRUIT, True),
        (("Lemon",), "not-a-fruit", None, None, True),
        (("apple", "grape"), "Granny-Smith", "apple", "Apple", True),  # a classifier of species
        (("Banana",), "Banana Red", "Banana", "Banana", True),
        (("Granny-Smith", "Lemon"), "apple", None, "Apple", False),
        (("Granny-Smith", "Lemon"), "Royal-Gala", None, "Apple", True),
        (("Apple Red 1", "Apple Red 2", "Pear"), "Apple Red 3", None, "Apple", False),  # both may be right
        (("not-a-fruit", "Pear"), "Not a fruit", "not-a-fruit", NOT_A_FRUIT, True),
        (("cat", "dog"), "cat", "cat", "cat", True),
        (("cat", "dog"), "Cat", None, None, True),
        (("Melon Galia", "Melon Honeydew"), "melon", None, "Melon", False),  # a species without a label of its own
        (("Dragon fruit Red", "Lime"), "dragon-fruit", None, "Dragon fruit", False),
        (("Pear Conference", "Pear Kaiser"), "pear conference", "Pear Conference", "Pear", True),
    ],
)
def test_labels_of_other_data_sets_are_mapped_to_those_of_the_classifier(
    labels: tuple[str, ...], label: str, meant: str | None, species: str | None, names_label: bool
) -> None:
    levels = levels_of(labels)
    truth = truth_of(label, levels)
    assert (levels.labels[truth.label] if truth.label >= 0 else None) == meant
    assert (levels.species[truth.species] if truth.species >= 0 else None) == species
    assert truth.names_label == names_label
    assert truth.is_fruit == (not label.lower().startswith("not"))
