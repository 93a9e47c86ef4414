"""The parts of a running service, and the dependencies with which the routes get them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.concurrency import run_in_threadpool

from verger.database.api_keys import find_key
from verger.database.connection import Database
from verger.serve.fruits import Fruits
from verger.serve.languages import Language
from verger.serve.photo_store import PhotoStore
from verger.serve.problems import ProblemError
from verger.serve.rate_limits import RateLimits
from verger.serve.recognizer import Recognizer
from verger.serve.settings import ServeSettings


@dataclass(frozen=True)
class Service:
    """What the routes need, made once when the service starts."""

    settings: ServeSettings
    database: Database
    fruits: Fruits
    photos: PhotoStore
    recognizer: Recognizer
    limits: RateLimits


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(_service)]


async def _language(accept_language: Annotated[str, Header()] = "en") -> Language:
    """Return the language that a client prefers: the first of en and fr in its list, by quality."""
    choices = []
    for position, part in enumerate(accept_language.split(",")):
        name, _, quality = part.replace(" ", "").partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0
        if weight > 0:
            choices.append((-weight, position, name.lower().partition("-")[0]))
    found = (name for _, _, name in sorted(choices) if name in ("en", "fr"))
    return "fr" if next(found, "en") == "fr" else "en"


CurrentLanguage = Annotated[Language, Depends(_language)]


def language_headers(language: Language) -> dict[str, str]:
    """Return the headers of an answer in a language."""
    return {"Content-Language": language, "Vary": "Accept-Language"}


class Rate:
    """The rate limit of one client. headers: RateLimit headers for the answer."""

    def __init__(self, limits: RateLimits, address: str, key_id: str | None) -> None:
        self._limits, self._address, self._key_id = limits, address, key_id
        self.headers = limits.check(address, key_id)

    def count_photos(self, n_photos: int) -> None:
        """Count the photos of a request; the first one was counted with it. Raises ProblemError (429)."""
        if n_photos > 1:
            self.headers = self._limits.check(self._address, self._key_id, n_photos - 1)


async def _rate(
    request: Request, service: CurrentService, x_api_key: Annotated[str | None, Header()] = None
) -> Rate:
    """Count a request; raises ProblemError (401, 429)."""
    address = request.client.host if request.client else "unknown"
    if x_api_key is None:
        return Rate(service.limits, address, None)
    key = await run_in_threadpool(find_key, service.database, x_api_key)
    if key is None:
        service.limits.check(address, None)  # guesses of keys count
        raise ProblemError(401, "this API key is not known or was revoked", reason="invalid-key")
    return Rate(service.limits, address, key.id)


CurrentRate = Annotated[Rate, Depends(_rate)]
