"""The table of facts about fruit: one row for each species and language, searchable by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from verger.database.connection import Database
from verger.database.rows import upsert
from verger.database.search_text import fold, join_names
from verger.database.tables import facts

_MAX_QUERY_CHARACTERS = 200  # no name is longer; SQLite refuses to search for very long texts


@dataclass(frozen=True)
class FactsRow:
    """The facts about a species in one language. content: JSON; names: in all languages, and those of varieties."""

    species: str
    language: str
    version: str
    name: str
    content: dict[str, Any]
    names: tuple[str, ...]


def store_facts(database: Database, rows: Sequence[FactsRow]) -> bool:
    """Replace the facts in the database by these; returns whether they differ. Processes may do it at once."""
    new = sorted(_values(rows), key=_key)
    with database.reading() as connection:
        stored = [dict(row) for row in connection.execute(sa.select(facts)).mappings()]
    if sorted(stored, key=_key) == new:
        return False
    with database.writing() as connection:
        # The first row makes other processes wait, since all begin with the same one.
        upsert(connection, facts, new)
        for species, language in {_key(row) for row in stored} - {_key(row) for row in new}:
            connection.execute(facts.delete().where(facts.c.species == species, facts.c.language == language))
    return True


def search(
    database: Database, text: str, language: str, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Return one page of the facts with a text in the names of species or varieties, and the number of all.

    It matches names in English, French and Latin; case and accents do not matter. Names that begin with the text
    come first, then the order is alphabetical.
    """
    if len(text) > _MAX_QUERY_CHARACTERS:
        return [], 0
    found = sa.and_(facts.c.language == language, facts.c.search_text.contains(fold(text), autoescape=True))
    begins = facts.c.search_text.contains(f"\n{fold(text)}", autoescape=True)
    page = sa.select(facts.c.content).where(found).order_by(begins.desc(), facts.c.position)
    with database.reading() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(facts).where(found))
        return list(connection.scalars(page.limit(limit).offset(offset))), total or 0


def _values(rows: Sequence[FactsRow]) -> list[dict[str, Any]]:
    """Return the values of the columns; `position` is the alphabetical order of the names, without accents."""
    return [
        {
            "species": row.species,
            "language": row.language,
            "version": row.version,
            "position": position,
            "content": row.content,
            "search_text": join_names(row.names),
        }
        for position, row in enumerate(sorted(rows, key=lambda row: (fold(row.name), row.species, row.language)))
    ]


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["species"], row["language"]
