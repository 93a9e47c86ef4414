"""GET /v1/fruits: facts about the species that the classifier may name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from verger.serve.fruits import Fruit, FruitPage
from verger.serve.problems import ProblemError, problem_responses
from verger.serve.state import CurrentLanguage, CurrentService, language_headers

router = APIRouter(prefix="/v1/fruits", tags=["fruits"])

_DAY = {"Cache-Control": "public, max-age=86400"}


@router.get("")
def list_fruits(
    response: Response,
    service: CurrentService,
    language: CurrentLanguage,
    q: Annotated[str, Query(max_length=100, description="part of a name, in English, French or Latin")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> FruitPage:
    """Return the fruits whose names or varieties contain `q`; case and accents are ignored."""
    response.headers.update(language_headers(language))
    return service.fruits.search(q, language, limit, offset)


@router.get("/{fruit_id}", responses=problem_responses({404: "there is no such fruit"}))
def get_fruit(fruit_id: str, response: Response, service: CurrentService, language: CurrentLanguage) -> Fruit:
    """Return everything about one fruit."""
    fruit = service.fruits.get(fruit_id, language)
    if fruit is None:
        raise ProblemError(404, f"there is no fruit {fruit_id[:100]!r}: GET /v1/fruits lists them")
    response.headers.update(language_headers(language) | _DAY)
    return fruit
