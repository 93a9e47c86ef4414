"""POST /v1/identify: name the fruit in photos, which are not kept."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from verger.serve.answers import Identification, answer
from verger.serve.metrics import DECISIONS
from verger.serve.state import CurrentLanguage, CurrentService, RateHeaders, language_headers
from verger.serve.uploads import body_schema_of_photo, read_photos

router = APIRouter(prefix="/v1", tags=["recognition"])

_ERRORS: dict[int | str, dict[str, str]] = {
    400: {"description": "the form cannot be read"},
    413: {"description": "a photo or the request is too large"},
    415: {"description": "neither a form nor an image"},
    422: {"description": "a photo cannot be decoded; `reason` and `photo` say why and which one"},
    429: {"description": "too many requests from this client; see Retry-After"},
    503: {"description": "too much work; see Retry-After"},
}


@router.post("/identify", responses=_ERRORS, openapi_extra={"requestBody": body_schema_of_photo()})
async def identify(
    request: Request, response: Response, service: CurrentService, language: CurrentLanguage, rate: RateHeaders
) -> Identification:
    """Name the fruit in one to five photos of one fruit. The photos are not kept.

    The decision is `sure`, `unsure` or `not_a_fruit`; all three are answers with the status 200.
    """
    upload = await read_photos(request, service.settings.max_photo_bytes)
    recognition = await service.recognizer.recognize(upload.photos)
    found = answer(recognition, service.recognizer, service.fruits, language)
    DECISIONS.labels(found.decision).inc()
    response.headers.update(language_headers(language) | rate)
    return found
