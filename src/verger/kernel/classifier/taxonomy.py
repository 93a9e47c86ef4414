"""What the labels of the data sets mean: one list of fruits, in place of three ways to name folders."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TABLE = "taxonomy.csv"


@dataclass(frozen=True)
class Taxon:
    """A class of the classifier: a species, and a variety within it or ''.

    `species` is a stable key in kebab-case; one key always goes with the same `latin`, `english` and `french`.
    """

    species: str
    latin: str
    english: str
    french: str
    variety: str

    @property
    def name(self) -> str:
        """The name to show, of which there is one a class: Banana, Apple Granny Smith."""
        return f"{self.english} {self.variety}".rstrip()


@cache
def read_taxonomy() -> dict[tuple[str, str], Taxon]:
    """Return the taxon of each (source, label).

    Sources are fruits360, grocery and render (`verger sample`); a label is the name of a folder there.
    """
    text = files(__package__).joinpath(TABLE).read_text("utf-8")
    return {(row.pop("source"), row.pop("label")): Taxon(**row) for row in csv.DictReader(text.splitlines())}


@cache
def taxon_of(label: str, source: str | None = None) -> Taxon | None:
    """Return what a label means in a source, or in every source that has it; None where that is not known.

    Case does not count, and '-', '_' and ' ' are one; a label on which sources disagree is not known.
    """
    wanted = _loosen(label)
    meanings = {
        taxon
        for (where, known), taxon in read_taxonomy().items()
        if source in (None, where) and _loosen(known) == wanted
    }
    return meanings.pop() if len(meanings) == 1 else None


def taxon_named(name: str) -> Taxon | None:
    """Return the taxon that has this `Taxon.name`, or None."""
    return next((taxon for taxon in read_taxonomy().values() if taxon.name == name), None)


def _loosen(label: str) -> str:
    # People who copy a data set rename its folders this much and no further.
    return label.casefold().replace("-", " ").replace("_", " ").strip()
