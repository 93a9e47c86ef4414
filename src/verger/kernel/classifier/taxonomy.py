"""Taxonomy of fruit: the species and variety that each label of each data set means."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TABLE = "taxonomy.csv"

# Data sets whose labels are species, although they have photos of several varieties.
_SPECIES_SOURCES = ("render", "snacks")


@dataclass(frozen=True)
class Taxon:
    """A class of the classifier: a species, and a variety of this species (may be empty).

    `species` is a stable key in kebab-case. Taxa with the same `species` have the same `latin`, `english` and
    `french`.
    """

    species: str
    latin: str
    english: str
    french: str
    variety: str

    @property
    def name(self) -> str:
        """The display name, unique for each class: Banana, Apple Granny Smith."""
        return f"{self.english} {self.variety}".rstrip()


@cache
def read_taxonomy() -> dict[tuple[str, str], Taxon]:
    """Return the taxon of each (source, label).

    source: fruits360, grocery, snacks (Flickr photos) or render (`verger sample`). label: the name of a folder of
    that source.
    """
    text = files(__package__).joinpath(TABLE).read_text("utf-8")
    return {(row.pop("source"), row.pop("label")): Taxon(**row) for row in csv.DictReader(text.splitlines())}


@cache
def taxon_of(label: str, source: str | None = None) -> Taxon | None:
    """Return the taxon of a label in one source, or in all sources if `source` is None.

    Return None if the label has no taxon, or different taxa in different sources. Case is ignored, and '-', '_' and
    ' ' are the same.
    """
    normalized = normalize(label)
    meanings = {
        taxon
        for (taxon_source, taxon_label), taxon in read_taxonomy().items()
        if source in (None, taxon_source) and normalize(taxon_label) == normalized
    }
    return meanings.pop() if len(meanings) == 1 else None


def taxon_named(name: str) -> Taxon | None:
    """Return the taxon that has this `Taxon.name`, in any spelling (see normalize); None if there is none."""
    wanted = normalize(name)
    return next((taxon for taxon in read_taxonomy().values() if normalize(taxon.name) == wanted), None)


@cache
def species_labelled(label: str) -> str | None:
    """Return the English name of the species with this name or key, in any spelling; None if there is none."""
    wanted = normalize(label)
    taxa = read_taxonomy().values()
    return next((t.english for t in taxa if wanted in (normalize(t.english), normalize(t.species))), None)


@cache
def taxon_labelled(label: str) -> Taxon | None:
    """Return the taxon that has this name, or that this label of a data set means; None if there is none."""
    return taxon_named(label) or taxon_of(label)


@cache
def names_variety(label: str) -> bool:
    """Return whether a label names a variety of a species."""
    taxon = taxon_labelled(label)
    return taxon is not None and taxon.variety != ""


@cache
def is_general(label: str) -> bool:
    """Return whether a label means any variety of its species: only data sets without varieties have it."""
    taxon = taxon_labelled(label)
    sources = {source for (source, _), meaning in read_taxonomy().items() if meaning == taxon}
    return bool(sources) and sources <= set(_SPECIES_SOURCES)


def normalize(label: str) -> str:
    """Return a label in lower case, with spaces instead of '-' and '_'."""
    return label.casefold().replace("-", " ").replace("_", " ").strip()
