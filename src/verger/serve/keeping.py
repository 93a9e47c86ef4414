"""Write the photos and rows of an observation, and delete them."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from verger.database.observation_records import NewObservation, NewPhoto, Observation
from verger.database.observations import add_observation
from verger.database.photo_files import finish_deletions, plan_deletions
from verger.errors import DatabaseError
from verger.serve.answers import Identification
from verger.serve.photo_store import upload_key
from verger.serve.recognizer import Recognition
from verger.serve.sent_photos import content_type_of
from verger.serve.state import Service

# After this time an upload has certainly ended, so files without an observation are left over.
UPLOAD_TIME = timedelta(hours=1)

_log = logging.getLogger(__name__)


def keep_observation(
    service: Service,
    owner: str,
    idempotency_key: str | None,
    photos: tuple[bytes, ...],
    recognition: Recognition,
    identification: Identification,
) -> tuple[Observation, bool]:
    """Write the photos, then the rows; return the observation and whether it is new.

    If an earlier request of the owner had this idempotency key, its observation is returned.
    """
    observation_id, now = str(uuid.uuid4()), datetime.now(UTC)
    rows = _photo_rows(observation_id, photos, recognition, identification.versions.model)
    plan_deletions(service.database, [row.storage_key for row in rows], now + UPLOAD_TIME)
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
        delete_files(service, [row.storage_key for row in rows])
    return observation, is_new


def _photo_rows(
    observation_id: str, photos: tuple[bytes, ...], recognition: Recognition, model: str
) -> tuple[NewPhoto, ...]:
    return tuple(
        NewPhoto(
            position=position,
            sha256=hashlib.sha256(photo).hexdigest(),
            width=found.width,
            height=found.height,
            content_type=content_type_of(photo),
            n_bytes=len(photo),
            storage_key=f"{observation_id}/{position}",
            vector=found.features,
            model=model,
        )
        for position, (photo, found) in enumerate(zip(photos, recognition.photos, strict=True))
    )


def delete_files(service: Service, keys: Sequence[str]) -> None:
    """Delete the files of deleted rows. What fails stays in the table photo_deletions, for `verger serve purge`."""
    try:
        finish_deletions(service.database, [key for key in keys if service.photos.try_delete(key)])
    except DatabaseError as error:
        _log.warning("deleted photos stay recorded for `verger serve purge`: %s", error)


def delete_uploads(service: Service, uploads: Sequence[uuid.UUID]) -> None:
    """Delete uploads that were used. Their planned deletions stay, because their forms are valid for a while."""
    for upload in uploads:
        service.photos.try_delete(upload_key(upload))
