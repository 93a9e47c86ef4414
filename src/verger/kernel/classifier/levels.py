"""The levels of an answer: a species, and a variety of this species."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.taxonomy import is_general, normalize, species_labelled, taxon_labelled

# The species of photos that show no fruit, and their label, which may be spelt as a folder's name: not-a-fruit.
NOT_A_FRUIT = "Not a fruit"

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# A small probability that is added to each label, so that the labels of a species are never all 0.
_TINY = np.float32(1e-9)


@dataclass(frozen=True)
class Levels:
    """The species of each label of a classifier.

    species: (n_species,) English names; a label without a taxon is a species. NOT_A_FRUIT counts as a species.
    is_fruit: (n_species,) whether the species is a fruit: all but NOT_A_FRUIT.
    species_of: (n_labels,) index of each label's species.
    is_general: (n_labels,) whether a label means any variety of its species, although other labels are its
        varieties. Such labels come from data sets that name only species.
    """

    labels: tuple[str, ...]
    species: tuple[str, ...]
    is_fruit: Flags
    species_of: Ints
    is_general: Flags

    @property
    def n_varieties(self) -> Ints:
        """The number of labels of each species, except general ones, (n_species,)."""
        return np.bincount(self.species_of[~self.is_general], minlength=len(self.species))

    def species_probabilities(self, probabilities: Floats) -> Floats:
        """Return (n, n_species): for each species, the sum of its labels' (n, n_labels) probabilities."""
        order = np.argsort(self.species_of, kind="stable")
        first = np.searchsorted(self.species_of[order], np.arange(len(self.species)))
        # A sum can be one rounding step above 1.
        sums: Floats = np.add.reduceat(probabilities[:, order], first, axis=1)
        return np.minimum(sums, np.float32(1))

    def label_probabilities(self, probabilities: Floats) -> Floats:
        """Return (n, n_labels) probabilities in which general labels have none.

        The probability of a general label is divided among the varieties of its species, in proportion to theirs.
        """
        if not self.is_general.any():
            return probabilities
        named = np.where(self.is_general, np.float32(0), probabilities + _TINY)
        scale = self.species_probabilities(probabilities) / self.species_probabilities(named)
        shares: Floats = named * scale[:, self.species_of]
        return np.minimum(shares, np.float32(1))

    def rank(self, probabilities: Floats) -> Candidates:
        """Return the most probable species of n photos and its most probable variety."""
        species, labels = self.species_probabilities(probabilities), self.label_probabilities(probabilities)
        best = species.argmax(axis=1)
        share = species.max(axis=1)
        within = np.where(self.species_of == best[:, None], labels, np.float32(-1))
        highest = within.max(axis=1)
        return Candidates(
            species=species,
            labels=labels,
            best=best,
            share=share,
            is_fruit=self.is_fruit[best],
            variety=within.argmax(axis=1),
            variety_share=np.where(highest >= labels.max(axis=1), highest / share, np.float32(-1)),
        )


@dataclass(frozen=True)
class Candidates:
    """The most probable answers for n photos, before it is decided what is named.

    species, labels: (n, n_species) and (n, n_labels) probabilities; general labels have none (see Levels).
    best: (n,) the most probable species. share: (n,) its probability. is_fruit: (n,) whether it is a fruit.
    variety: (n,) the most probable label of this species.
    variety_share: (n,) its share of the species' probability; -1, which is below every threshold, if a label
        of another species is more probable.
    """

    species: Floats
    labels: Floats
    best: Ints
    share: Floats
    is_fruit: Flags
    variety: Ints
    variety_share: Floats


@cache
def levels_of(labels: tuple[str, ...]) -> Levels:
    """Return the levels of a classifier's labels, from the taxonomy of fruit."""
    names = [species_name(label) for label in labels]
    species = tuple(sorted(set(names)))
    varied = {name for label, name in zip(labels, names, strict=True) if not is_general(label)}
    return Levels(
        labels,
        species,
        np.array([name != NOT_A_FRUIT for name in species], bool),
        np.array([species.index(name) for name in names], np.int64),
        np.array([is_general(label) and name in varied for label, name in zip(labels, names, strict=True)], bool),
    )


def species_name(label: str) -> str:
    """Return the English name of a label's species; the label itself if it has no taxon."""
    if normalize(label) == normalize(NOT_A_FRUIT):
        return NOT_A_FRUIT
    taxon = taxon_labelled(label)
    return taxon.english if taxon else species_labelled(label) or label
