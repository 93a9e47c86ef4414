"""/v1/observations: photos that people allow to keep, with the answer and what they say about it.

Each observation belongs to an owner, who sends a random key of at least 32 characters. Only its hash is stored.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from verger.database.deletions import delete_all, delete_observation
from verger.database.observation_records import Feedback, Observation
from verger.database.observations import (
    find_by_idempotency_key,
    find_observation,
    list_observations,
    set_feedback,
)
from verger.kernel.classifier.taxonomy import read_taxonomy
from verger.serve.keeping import delete_files, delete_uploads, keep_observation
from verger.serve.languages import Language
from verger.serve.naming import name_fruit
from verger.serve.observation_answers import (
    FeedbackIn,
    FeedbackOut,
    ObservationOut,
    ObservationPage,
    feedback_out,
    observation_out,
)
from verger.serve.problems import PHOTO_ERRORS, ProblemError, problem_responses
from verger.serve.sent_photos import SentPhotos, body_schema, read_sent_photos
from verger.serve.state import CurrentLanguage, CurrentRate, CurrentService, Service, language_headers

router = APIRouter(
    prefix="/v1/observations", tags=["observations"], responses=problem_responses({401: "no key of an owner"})
)

_MIN_KEY_CHARACTERS = 32

_bearer = HTTPBearer(auto_error=False, description="a random text of at least 32 characters, made by the client")


async def _owner(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """Return the hash of the owner's key; raises ProblemError (401)."""
    key = credentials.credentials if credentials else ""
    if len(key) < _MIN_KEY_CHARACTERS:
        raise ProblemError(
            401,
            f"send Authorization: Bearer KEY, with a random key of at least {_MIN_KEY_CHARACTERS} characters",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return hashlib.sha256(key.encode()).hexdigest()


Owner = Annotated[str, Depends(_owner)]


@router.post(
    "",
    status_code=201,
    responses={
        200: {"description": "this Idempotency-Key was used before: the same observation", "model": ObservationOut},
        **problem_responses(PHOTO_ERRORS),
    },
    openapi_extra={"requestBody": body_schema("consent", "keep_metadata")},
)
async def create(
    request: Request,
    response: Response,
    service: CurrentService,
    language: CurrentLanguage,
    owner: Owner,
    rate: CurrentRate,
    idempotency_key: Annotated[uuid.UUID | None, Header()] = None,
) -> ObservationOut:
    """Name the fruit in photos, and keep the photos and the answer.

    `consent` must be true. Place, time and camera are removed from the photos unless `keep_metadata` is true.
    """
    sent = await read_sent_photos(request, service.settings.max_photo_bytes)
    if not sent.flag("consent"):
        detail = "photos are kept only with consent: send consent=true, or use /v1/identify, which keeps nothing"
        raise ProblemError(422, detail, reason="no-consent")
    rate.count_photos(sent.n_photos)
    key = None if idempotency_key is None else str(idempotency_key)
    earlier = await run_in_threadpool(find_by_idempotency_key, service.database, owner, key) if key else None
    if earlier:
        kept, is_new = earlier, False
    else:
        kept, is_new = await _recognize_and_keep(service, owner, key, sent, language)
    response.status_code = 201 if is_new else 200
    response.headers.update(language_headers(language) | rate.headers | {"Location": f"/v1/observations/{kept.id}"})
    return await run_in_threadpool(observation_out, kept, service.photos)


async def _recognize_and_keep(
    service: Service, owner: str, key: str | None, sent: SentPhotos, language: Language
) -> tuple[Observation, bool]:
    keeps_metadata = sent.flag("keep_metadata")
    named = await name_fruit(service, sent, language)
    photos = named.photos if keeps_metadata else await service.recognizer.strip_metadata(named.photos)
    kept = await run_in_threadpool(
        keep_observation, service, owner, key, photos, named.recognition, named.identification
    )
    await run_in_threadpool(delete_uploads, service, sent.uploads)
    return kept


@router.get("")
def list_own(
    service: CurrentService,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> ObservationPage:
    """Return the owner's observations, the newest first."""
    found, total = list_observations(service.database, owner, limit, offset)
    return ObservationPage(
        items=[observation_out(one, service.photos) for one in found], total=total, limit=limit, offset=offset
    )


@router.delete("", status_code=204)
def forget_owner(service: CurrentService, owner: Owner) -> None:
    """Delete all observations of the owner, with their photos and vectors."""
    delete_files(service, delete_all(service.database, owner).storage_keys)


_NOT_FOUND = problem_responses({404: "the owner has no such observation"})


@router.get("/{observation_id}", responses=_NOT_FOUND)
def get_observation(observation_id: uuid.UUID, service: CurrentService, owner: Owner) -> ObservationOut:
    """Return an observation of the owner."""
    return observation_out(_find(service, observation_id, owner), service.photos)


@router.delete("/{observation_id}", status_code=204, responses=_NOT_FOUND)
def delete(observation_id: uuid.UUID, service: CurrentService, owner: Owner) -> None:
    """Delete an observation with its photos and vectors."""
    deletion = delete_observation(service.database, str(observation_id), owner)
    if not deletion.n_observations:
        raise _not_found(observation_id)
    delete_files(service, deletion.storage_keys)


@router.get("/{observation_id}/photos/{position}", responses=_NOT_FOUND, response_class=Response)
def get_photo(observation_id: uuid.UUID, position: int, service: CurrentService, owner: Owner) -> Response:
    """Return a kept photo."""
    photos = _find(service, observation_id, owner).photos
    if not 0 <= position < len(photos):
        raise ProblemError(404, f"the observation has photos from 0 to {len(photos) - 1}")
    photo = photos[position]
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": "inline"}
    try:
        content = service.photos.read(photo.storage_key)
    except FileNotFoundError:
        raise ProblemError(404, "this photo is gone", reason="gone") from None
    return Response(content, media_type=photo.content_type, headers=headers)


@router.post("/{observation_id}/feedback", responses=_NOT_FOUND)
def give_feedback(
    observation_id: uuid.UUID, feedback: FeedbackIn, service: CurrentService, owner: Owner, rate: CurrentRate
) -> FeedbackOut:
    """Say whether the answer is right, or which species it is; this replaces earlier feedback."""
    _find(service, observation_id, owner)
    known = {taxon.species for taxon in read_taxonomy().values()}
    if feedback.species is not None and feedback.species not in known:
        detail = f"species: {feedback.species!r} is not a key of a fruit: GET /v1/fruits lists them"
        raise ProblemError(422, detail, reason="unknown-species")
    if feedback.is_right and feedback.species is not None:
        raise ProblemError(422, "species: name another species only if is_right is false", reason="invalid-request")
    stored = set_feedback(
        service.database,
        str(observation_id),
        owner,
        Feedback(feedback.is_right, feedback.species, feedback.comment, datetime.now(UTC)),
    )
    if stored is None:
        raise _not_found(observation_id)
    return feedback_out(stored)


def _find(service: Service, observation_id: uuid.UUID, owner: str) -> Observation:
    found = find_observation(service.database, str(observation_id), owner)
    if found is None:
        raise _not_found(observation_id)
    return found


def _not_found(observation_id: uuid.UUID) -> ProblemError:
    return ProblemError(404, f"this owner has no observation {observation_id}")
