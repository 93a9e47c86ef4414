"""Facts about fruit, from the database, in the form of the service's answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from verger.database import facts_table
from verger.database.connection import Database
from verger.database.fruit_facts import FACTS_VERSION
from verger.serve.languages import LANGUAGES, Language


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class FruitSummary(_Part):
    """A fruit in a list."""

    id: str = Field(examples=["apple"])
    name: str = Field(examples=["Apple"])
    latin: str = Field(examples=["Malus domestica"])
    family: str = Field(examples=["Rosaceae"])
    in_season: bool = Field(description="whether it is in season in Europe this month")
    url: str = Field(examples=["/v1/fruits/apple"])


class FruitPage(_Part):
    """A page of a list of fruits."""

    items: list[FruitSummary]
    total: int
    limit: int
    offset: int


class Names(_Part):
    """The name of a fruit in each language."""

    en: str
    fr: str


class SeasonInfo(_Part):
    """The season in Europe: months from 1 to 12, and a remark."""

    months: list[int]
    note: str


class NutritionInfo(_Part):
    """Nutrition of 100 g of the edible part, raw."""

    energy_kcal: float
    carbohydrate_g: float
    sugars_g: float
    fibre_g: float
    protein_g: float
    fat_g: float
    vitamin_c_mg: float
    potassium_mg: float


class VarietyInfo(_Part):
    """A well-known variety."""

    name: str
    note: str


class SourceInfo(_Part):
    """The source of a fact."""

    field: str
    name: str
    reference: str


class Fruit(FruitSummary):
    """Everything about one fruit."""

    names: Names
    origin: str
    season: SeasonInfo
    nutrition: NutritionInfo
    storage: str
    varieties: list[VarietyInfo]
    conservation: str
    sources: list[SourceInfo]
    version: str


class Fruits:
    """The facts in a database. They are read once, because each answer needs some; searches use the database."""

    version = FACTS_VERSION

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contents = {
            (language, content["id"]): content
            for language in LANGUAGES
            for content in facts_table.search(database, "", language, limit=10_000, offset=0)[0]
        }

    def get(self, fruit_id: str, language: Language) -> Fruit | None:
        """Return everything about a fruit; None if there is no such fruit."""
        content = self._contents.get((language, fruit_id))
        return None if content is None else Fruit.model_validate(_summary(content) | content)

    def summary(self, fruit_id: str, language: Language) -> FruitSummary | None:
        """Return the summary of a fruit; None if there is no such fruit."""
        content = self._contents.get((language, fruit_id))
        return None if content is None else FruitSummary.model_validate(_summary(content))

    def search(self, text: str, language: Language, limit: int, offset: int) -> FruitPage:
        """Return the fruits whose names or varieties contain a text."""
        found, total = facts_table.search(self._database, text, language, limit, offset)
        items = [FruitSummary.model_validate(_summary(content)) for content in found]
        return FruitPage(items=items, total=total, limit=limit, offset=offset)


def _summary(content: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a summary, from the content of a row of the table of facts."""
    month = datetime.now(UTC).month
    return {
        "id": content["id"],
        "name": content["name"],
        "latin": content["latin"],
        "family": content["family"],
        "in_season": month in content["season"]["months"],
        "url": f"/v1/fruits/{content['id']}",
    }
