"""What the label of a photo means to a classifier, which may have been trained on another data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verger.kernel.classifier.levels import NOT_A_FRUIT, Levels, species_name
from verger.kernel.classifier.taxonomy import is_general, names_variety, species_labelled, taxon_labelled


@dataclass(frozen=True)
class Truth:
    """The true classes of a photo.

    label, species: their numbers, or -1 if the classifier does not have them.
    names_label: whether a label of the classifier can be right or wrong. False if the photo's label means its
        whole species, or several labels of the classifier: the photo then counts for its species only.
    is_fruit: whether the photo shows a fruit.
    """

    label: int
    species: int
    names_label: bool
    is_fruit: bool


def truth_of(label: str, levels: Levels) -> Truth:
    """Return the true classes of photos with this label, in any spelling that the taxonomy of fruit knows."""
    name = species_name(label)
    is_fruit = name != NOT_A_FRUIT
    if name not in levels.species:
        return Truth(-1, -1, names_label=True, is_fruit=is_fruit)
    species = levels.species.index(name)
    meant = _labels_meant(label, species, levels)
    if len(meant) == 1:
        return Truth(meant[0], species, names_label=not levels.is_general[meant[0]], is_fruit=is_fruit)
    return Truth(-1, species, names_label=not meant and not _is_species(label), is_fruit=is_fruit)


def _is_species(label: str) -> bool:
    """Return whether a label means a whole species."""
    return is_general(label) or (taxon_labelled(label) is None and species_labelled(label) is not None)


def _labels_meant(label: str, species: int, levels: Levels) -> list[int]:
    """Return the numbers of the labels that are right for a photo with this label of this species."""
    of_species = [int(i) for i in np.flatnonzero(levels.species_of == species)]
    for i in of_species:
        if levels.labels[i] == label:
            return [i]
    if not any(names_variety(levels.labels[i]) for i in of_species):
        return of_species
    taxon = taxon_labelled(label)
    return [i for i in of_species if taxon_labelled(levels.labels[i]) == taxon]
