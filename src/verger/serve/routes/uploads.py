"""POST /v1/uploads: forms with which clients send photos straight to the bucket."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, StringConstraints

from verger.database.photo_files import plan_deletions
from verger.serve.answers import Answer
from verger.serve.keeping import UPLOAD_TIME
from verger.serve.photo_store import LINK_TIME, upload_key
from verger.serve.problems import ProblemError, problem_responses
from verger.serve.state import CurrentRate, CurrentService

router = APIRouter(prefix="/v1/uploads", tags=["recognition"])

ImageType = Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9.+-]{1,50}$")]


class UploadIn(BaseModel):
    """What the client will upload."""

    model_config = ConfigDict(extra="forbid")

    content_type: ImageType = "image/jpeg"


class UploadOut(Answer):
    """A form for one photo: POST `fields` and then the photo as `file` to `url`, as multipart/form-data."""

    id: uuid.UUID
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: datetime


@router.post(
    "",
    status_code=201,
    responses=problem_responses({409: "photos are kept in a folder: send them in the request", 429: None}),
)
async def create_upload(
    upload: UploadIn, response: Response, service: CurrentService, rate: CurrentRate
) -> UploadOut:
    """Return a form with which one photo is sent to the bucket, and an id for identify and observations.

    The bucket accepts only this type and at most `max_bytes`. What is not used is deleted by `verger serve purge`.
    """
    if not service.photos.accepts_uploads:
        detail = "this service has no bucket for uploads: send the photos themselves to /v1/identify"
        raise ProblemError(409, detail, reason="no-uploads")
    upload_id, now = uuid.uuid4(), datetime.now(UTC)
    max_bytes = service.settings.max_photo_bytes
    form = await run_in_threadpool(service.photos.new_upload, upload_id, upload.content_type, max_bytes)
    due_at = now + LINK_TIME + UPLOAD_TIME
    await run_in_threadpool(plan_deletions, service.database, [upload_key(upload_id)], due_at)
    response.headers.update(rate.headers)
    return UploadOut(
        id=upload_id, url=form.url, fields=form.fields, max_bytes=max_bytes, expires_at=now + LINK_TIME
    )
