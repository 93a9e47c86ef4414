"""Facts about each species of the taxonomy, in English and French: the files of `facts/`.

Each file is named after the species. docs/fruit-facts.md describes its fields and how facts are reviewed.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from verger.kernel.classifier.taxonomy import Taxon, read_taxonomy

# The day of the last change of the facts; every answer of the service names it.
FACTS_VERSION = "2026-12-01"

FACT_FIELDS = ("family", "origin", "season", "nutrition", "storage", "varieties", "conservation")
FactField = Literal["family", "origin", "season", "nutrition", "storage", "varieties", "conservation"]

Month = Annotated[int, Field(ge=1, le=12)]
Text = Annotated[str, Field(min_length=10, max_length=400)]
Amount = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Localized(_Part):
    """A text in English and in French."""

    en: Text
    fr: Text


class Season(Localized):
    """The months in which it is in season in Europe, 1 to 12, and a remark."""

    months: tuple[Month, ...] = Field(min_length=1)


class Nutrition(_Part):
    """Nutrition of 100 g of the edible part, raw. Carbohydrate includes fibre."""

    energy_kcal: Amount
    carbohydrate_g: Amount
    sugars_g: Amount
    fibre_g: Amount
    protein_g: Amount
    fat_g: Amount
    vitamin_c_mg: Amount
    potassium_mg: Amount


class Variety(Localized):
    """A well-known variety, and a note on it."""

    name: str = Field(min_length=2, max_length=60)


class FactSource(_Part):
    """The source of some fields of the facts."""

    fields: tuple[FactField, ...] = Field(min_length=1)
    name: str = Field(min_length=2, max_length=100)
    reference: str = Field(min_length=2, max_length=300)


class FruitFacts(_Part):
    """Everything about one species. `taxon` has its names; its variety is empty."""

    taxon: Taxon
    family: str = Field(pattern=r"^[A-Z][a-z]+ceae$")
    origin: Localized
    season: Season
    nutrition: Nutrition
    storage: Localized
    varieties: tuple[Variety, ...] = Field(min_length=2, max_length=5)
    conservation: Localized
    sources: tuple[FactSource, ...] = Field(min_length=1)


@cache
def read_facts() -> dict[str, FruitFacts]:
    """Return species -> facts, for every species of the taxonomy, sorted by key."""
    species = {taxon.species: taxon for taxon in read_taxonomy().values()}
    folder = files(__package__).joinpath("facts")
    facts = {}
    for key in sorted(species):
        taxon = species[key]
        names = Taxon(key, taxon.latin, taxon.english, taxon.french, variety="")
        content = tomllib.loads(folder.joinpath(f"{key}.toml").read_text("utf-8"))
        facts[key] = FruitFacts(taxon=names, **content)
    return facts
