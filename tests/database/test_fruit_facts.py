from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest

from verger.database.fruit_facts import FACT_FIELDS, FACTS_VERSION, FruitFacts, Localized, read_facts
from verger.kernel.classifier.taxonomy import read_taxonomy

# The facts of FACTS_VERSION. If you change facts, set FACTS_VERSION to today, and this to the hash in the message.
_VERSION, _SHA256 = "2026-12-01", "3340be729abfa0418b310f0fb5e115645f2193c29e9731ef60cce8bec63ee7af"

_ENGLISH = re.compile(r"\b(the|and|with|from|fruit is|its)\b", re.IGNORECASE)
_FRENCH = re.compile(r"\b(les|des|avec|dans|une|est)\b", re.IGNORECASE)

SPECIES = sorted({taxon.species for taxon in read_taxonomy().values()})


def texts_of(facts: FruitFacts) -> list[Localized]:
    return [facts.origin, facts.season, facts.storage, facts.conservation, *facts.varieties]


def test_every_species_has_facts_and_no_other_file_is_there() -> None:
    names = {entry.name for entry in files("verger.database").joinpath("facts").iterdir()}
    assert {name.removesuffix(".toml") for name in names if name.endswith(".toml")} == set(SPECIES)
    assert list(read_facts()) == SPECIES


def test_the_version_changes_with_the_facts() -> None:
    folder = files("verger.database").joinpath("facts")
    content = b"".join(folder.joinpath(f"{key}.toml").read_bytes() for key in SPECIES)
    found = hashlib.sha256(content).hexdigest()
    assert (FACTS_VERSION, found) == (_VERSION, _SHA256), f"set FACTS_VERSION to today, and _SHA256 to {found}"


@pytest.mark.parametrize("key", SPECIES)
def test_nutrition_is_plausible(key: str) -> None:
    nutrition = read_facts()[key].nutrition
    digestible_g = nutrition.carbohydrate_g - nutrition.fibre_g
    expected = 4 * digestible_g + 2 * nutrition.fibre_g + 4 * nutrition.protein_g + 9 * nutrition.fat_g
    assert nutrition.energy_kcal == pytest.approx(expected, rel=0.2, abs=12)
    assert nutrition.sugars_g <= nutrition.carbohydrate_g <= 100
    assert nutrition.fibre_g <= nutrition.carbohydrate_g
    assert nutrition.vitamin_c_mg < 400 and 20 < nutrition.potassium_mg < 1_000


@pytest.mark.parametrize("key", SPECIES)
def test_every_field_has_a_source_and_both_languages(key: str) -> None:
    facts = read_facts()[key]
    assert {field for source in facts.sources for field in source.fields} == set(FACT_FIELDS)
    assert facts.season.months == tuple(sorted(set(facts.season.months)))
    assert len({variety.name for variety in facts.varieties}) == len(facts.varieties)
    for text in texts_of(facts):
        assert text.en != text.fr
        assert not _FRENCH.search(text.en), text.en
        assert not _ENGLISH.search(text.fr), text.fr
        assert text.en.endswith(".") and text.fr.endswith("."), text
