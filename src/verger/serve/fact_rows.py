"""The rows of the table of facts, from the facts in the package."""

from __future__ import annotations

from typing import Any

from verger.database.connection import Database
from verger.database.facts_table import FactsRow, store_facts
from verger.database.fruit_facts import FACTS_VERSION, FruitFacts, read_facts
from verger.serve.languages import LANGUAGES, Language


def load_facts(database: Database) -> None:
    """Store the facts of the package in the database, if it has others."""
    store_facts(database, [_row(facts, language) for facts in read_facts().values() for language in LANGUAGES])


def _row(facts: FruitFacts, language: Language) -> FactsRow:
    taxon = facts.taxon
    names = (taxon.english, taxon.french, taxon.latin, *(variety.name for variety in facts.varieties))
    name = getattr(taxon, {"en": "english", "fr": "french"}[language])
    return FactsRow(taxon.species, language, FACTS_VERSION, name, _content(facts, language), names)


def _content(facts: FruitFacts, language: Language) -> dict[str, Any]:
    """Return the facts in one language, with the members of the answer `Fruit`."""
    taxon = facts.taxon
    return {
        "id": taxon.species,
        "name": taxon.french if language == "fr" else taxon.english,
        "names": {"en": taxon.english, "fr": taxon.french},
        "latin": taxon.latin,
        "family": facts.family,
        "origin": getattr(facts.origin, language),
        "season": {"months": list(facts.season.months), "note": getattr(facts.season, language)},
        "nutrition": facts.nutrition.model_dump(),
        "storage": getattr(facts.storage, language),
        "varieties": [{"name": one.name, "note": getattr(one, language)} for one in facts.varieties],
        "conservation": getattr(facts.conservation, language),
        "sources": [
            {"field": field, "name": source.name, "reference": source.reference}
            for source in facts.sources
            for field in source.fields
        ],
        "version": FACTS_VERSION,
    }
