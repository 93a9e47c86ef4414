"""/v1/observations: photos that people allow to keep, with the answer and what they say about it.

Each observation belongs to an owner, who sends a random key of at least 32 characters. Only its hash is stored.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from verger.database.deletions import delete_all, delete_observation
from verger.database.observation_records import Feedback, NewObservation, NewPhoto, Observation
from verger.database.observations import add_observation, find_observation, list_observations, set_feedback
from verger.database.photo_files import finish_deletions, plan_deletions
from verger.kernel.classifier.taxonomy import read_taxonomy
from verger.privacy.metadata import strip_metadata
from verger.serve.answers import Answer, Identification, answer
from verger.serve.metrics import DECISIONS
from verger.serve.problems import ProblemError
from verger.serve.recognizer import Recognition
from verger.serve.state import CurrentLanguage, CurrentService, RateHeaders, Service, language_headers
from verger.serve.uploads import Upload, body_schema, content_type_of, read_form

router = APIRouter(prefix="/v1/observations", tags=["observations"])

_MIN_KEY_CHARACTERS = 32
# After this time an upload has certainly ended, so files without an observation are left over.
_UPLOAD_TIME = timedelta(hours=1)
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("", "false", "0", "off", "no")
_FLAG = {"type": "boolean"}

_bearer = HTTPBearer(auto_error=False, description="a random text of at least 32 characters, made by the client")


class FeedbackIn(BaseModel):
    """What the owner says about an answer."""

    model_config = ConfigDict(extra="forbid")

    is_right: bool
    species: str | None = Field(
        None, max_length=100, description="key of the right species, if the answer is wrong"
    )
    comment: str | None = Field(None, max_length=1_000)


class FeedbackOut(Answer):
    """The stored feedback."""

    is_right: bool
    species: str | None
    comment: str | None
    created_at: datetime


class KeptPhoto(Answer):
    """A kept photo."""

    url: str
    sha256: str
    width: int
    height: int


class ObservationOut(Answer):
    """An observation as its owner sees it."""

    id: str
    created_at: datetime
    expires_at: datetime
    identification: Identification
    photos: list[KeptPhoto]
    feedback: FeedbackOut | None


class ObservationPage(Answer):
    """A page of a list of observations, the newest first."""

    items: list[ObservationOut]
    total: int
    limit: int
    offset: int


def _owner(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
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
    responses={200: {"description": "this Idempotency-Key was used before: the same observation"}},
    openapi_extra={"requestBody": body_schema(consent=_FLAG, keep_metadata=_FLAG)},
)
async def create(
    request: Request,
    response: Response,
    service: CurrentService,
    language: CurrentLanguage,
    owner: Owner,
    rate: RateHeaders,
    idempotency_key: Annotated[uuid.UUID | None, Header()] = None,
) -> ObservationOut:
    """Name the fruit in photos, and keep the photos and the answer.

    `consent` must be true. Place, time and camera are removed from the photos unless `keep_metadata` is true.
    """
    upload = await read_form(request, service.settings.max_photo_bytes)
    if not _flag(upload, "consent"):
        detail = "photos are kept only with consent: send consent=true, or use /v1/identify, which keeps nothing"
        raise ProblemError(422, detail, reason="no-consent")
    keeps_metadata = _flag(upload, "keep_metadata")
    recognition = await service.recognizer.recognize(upload.photos)
    identification = answer(recognition, service.recognizer, service.fruits, language)
    DECISIONS.labels(identification.decision).inc()
    key = None if idempotency_key is None else str(idempotency_key)
    photos = upload.photos
    if not keeps_metadata:
        photos = tuple([await run_in_threadpool(strip_metadata, photo) for photo in photos])
    kept, is_new = await run_in_threadpool(_keep, service, owner, key, photos, recognition, identification)
    response.status_code = 201 if is_new else 200
    response.headers.update(language_headers(language) | rate | {"Location": f"/v1/observations/{kept.id}"})
    return _out(kept)


def _keep(
    service: Service,
    owner: str,
    idempotency_key: str | None,
    photos: tuple[bytes, ...],
    recognition: Recognition,
    identification: Identification,
) -> tuple[Observation, bool]:
    """Write the photos, then the rows; if an earlier request had this idempotency key, return its observation."""
    observation_id, now = str(uuid.uuid4()), datetime.now(UTC)
    rows = tuple(
        NewPhoto(
            position=position,
            sha256=found.sha256,
            width=found.width,
            height=found.height,
            content_type=content_type_of(photo),
            n_bytes=len(photo),
            storage_key=f"{observation_id}/{position}",
            vector=found.features,
            model=identification.versions.model,
        )
        for position, (photo, found) in enumerate(zip(photos, recognition.photos, strict=True))
    )
    plan_deletions(service.database, [row.storage_key for row in rows], now + _UPLOAD_TIME)
    for row, photo in zip(rows, photos, strict=True):
        service.photos.write(row.storage_key, photo)
    new = NewObservation(
        id=observation_id,
        owner_sha256=owner,
        idempotency_key=idempotency_key,
        created_at=now,
        expires_at=now + timedelta(days=service.settings.retention_days),
        answer=identification.model_dump(mode="json"),
        model=identification.versions.model,
        classifier=identification.versions.classifier,
        photos=rows,
    )
    observation, is_new = add_observation(service.database, new)
    if not is_new:
        _delete_photos(service, [row.storage_key for row in rows])
    return observation, is_new


@router.get("")
def list_own(
    service: CurrentService,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> ObservationPage:
    """Return the owner's observations, the newest first."""
    found, total = list_observations(service.database, owner, limit, offset)
    return ObservationPage(items=[_out(one) for one in found], total=total, limit=limit, offset=offset)


@router.delete("", status_code=204)
def forget_owner(service: CurrentService, owner: Owner) -> None:
    """Delete all observations of the owner, with their photos and vectors."""
    _delete_photos(service, delete_all(service.database, owner).storage_keys)


_NOT_FOUND: dict[int | str, dict[str, str]] = {404: {"description": "the owner has no such observation"}}


@router.get("/{observation_id}", responses=_NOT_FOUND)
def get_observation(observation_id: uuid.UUID, service: CurrentService, owner: Owner) -> ObservationOut:
    """Return an observation of the owner."""
    return _out(_find(service, observation_id, owner))


@router.delete("/{observation_id}", status_code=204, responses=_NOT_FOUND)
def delete(observation_id: uuid.UUID, service: CurrentService, owner: Owner) -> None:
    """Delete an observation with its photos and vectors."""
    deletion = delete_observation(service.database, str(observation_id), owner)
    if not deletion.n_observations:
        raise _not_found(observation_id)
    _delete_photos(service, deletion.storage_keys)


@router.get("/{observation_id}/photos/{position}", responses=_NOT_FOUND, response_class=Response)
def get_photo(observation_id: uuid.UUID, position: int, service: CurrentService, owner: Owner) -> Response:
    """Return a kept photo."""
    photos = _find(service, observation_id, owner).photos
    if not 0 <= position < len(photos):
        raise ProblemError(404, f"the observation has photos from 0 to {len(photos) - 1}")
    photo = photos[position]
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": "inline"}
    return Response(service.photos.read(photo.storage_key), media_type=photo.content_type, headers=headers)


@router.post("/{observation_id}/feedback", responses=_NOT_FOUND)
def give_feedback(
    observation_id: uuid.UUID, feedback: FeedbackIn, service: CurrentService, owner: Owner
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
    return _feedback_out(stored)


def _find(service: Service, observation_id: uuid.UUID, owner: str) -> Observation:
    found = find_observation(service.database, str(observation_id), owner)
    if found is None:
        raise _not_found(observation_id)
    return found


def _not_found(observation_id: uuid.UUID) -> ProblemError:
    return ProblemError(404, f"this owner has no observation {observation_id}")


def _delete_photos(service: Service, keys: Sequence[str]) -> None:
    """Delete the files of deleted rows. What fails stays in the table photo_deletions, for `verger serve purge`."""
    for key in keys:
        service.photos.delete(key)
    finish_deletions(service.database, keys)


def _flag(upload: Upload, name: str) -> bool:
    value = upload.fields.get(name, "").strip().lower()
    if value not in _TRUE + _FALSE:
        raise ProblemError(422, f"{name}: {value[:50]!r} is neither true nor false", reason="invalid-request")
    return value in _TRUE


def _out(observation: Observation) -> ObservationOut:
    photos = [
        KeptPhoto(
            url=f"/v1/observations/{observation.id}/photos/{position}",
            sha256=photo.sha256,
            width=photo.width,
            height=photo.height,
        )
        for position, photo in enumerate(observation.photos)
    ]
    return ObservationOut(
        id=observation.id,
        created_at=observation.created_at,
        expires_at=observation.expires_at,
        identification=Identification.model_validate(observation.answer),
        photos=photos,
        feedback=None if observation.feedback is None else _feedback_out(observation.feedback),
    )


def _feedback_out(feedback: Feedback) -> FeedbackOut:
    return FeedbackOut(
        is_right=feedback.is_right,
        species=feedback.species,
        comment=feedback.comment,
        created_at=feedback.created_at,
    )
