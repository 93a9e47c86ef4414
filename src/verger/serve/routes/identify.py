"""POST /v1/identify: name the fruit in photos, which are not kept."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from verger.serve.answers import Identification, answer
from verger.serve.keeping import delete_uploads
from verger.serve.metrics import DECISIONS
from verger.serve.problems import problem_responses
from verger.serve.sent_photos import body_schema, load_photos, read_sent_photos
from verger.serve.state import CurrentLanguage, CurrentRate, CurrentService, language_headers

router = APIRouter(prefix="/v1", tags=["recognition"])

_ERRORS = problem_responses({400: None, 413: None, 415: None, 422: None, 429: None, 503: None})


@router.post("/identify", responses=_ERRORS, openapi_extra={"requestBody": body_schema(allows_image=True)})
async def identify(
    request: Request, response: Response, service: CurrentService, language: CurrentLanguage, rate: CurrentRate
) -> Identification:
    """Name the fruit in one to five photos of one fruit. The photos are not kept.

    The decision is `sure`, `unsure` or `not_a_fruit`; all three are answers with the status 200.
    """
    max_bytes = service.settings.max_photo_bytes
    sent = await read_sent_photos(request, max_bytes, allows_image=True)
    rate.count_photos(sent.n_photos)
    photos = await load_photos(sent, service.photos, max_bytes, service.settings.deadline_s)
    recognition = await service.recognizer.recognize(photos)
    await run_in_threadpool(delete_uploads, service, sent.uploads)
    found = answer(recognition, service.recognizer, service.fruits, language)
    DECISIONS.labels(found.decision).inc()
    response.headers.update(language_headers(language) | rate.headers)
    return found
