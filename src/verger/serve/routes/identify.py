"""POST /v1/identify: name the fruit in photos, which are not kept."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from verger.serve.answers import Identification
from verger.serve.keeping import delete_uploads
from verger.serve.naming import name_fruit
from verger.serve.problems import PHOTO_ERRORS, problem_responses
from verger.serve.sent_photos import body_schema, read_sent_photos
from verger.serve.state import CurrentLanguage, CurrentRate, CurrentService, language_headers

router = APIRouter(prefix="/v1", tags=["recognition"])


@router.post(
    "/identify",
    responses=problem_responses(PHOTO_ERRORS),
    openapi_extra={"requestBody": body_schema(allows_image=True)},
)
async def identify(
    request: Request, response: Response, service: CurrentService, language: CurrentLanguage, rate: CurrentRate
) -> Identification:
    """Name the fruit in one to five photos of one fruit. The photos are not kept.

    The decision is `sure`, `unsure` or `not_a_fruit`; all three are answers with the status 200.
    """
    sent = await read_sent_photos(request, service.settings.max_photo_bytes, allows_image=True)
    rate.count_photos(sent.n_photos)
    named = await name_fruit(service, sent, language)
    await run_in_threadpool(delete_uploads, service, sent.uploads)
    response.headers.update(language_headers(language) | rate.headers)
    return named.identification
