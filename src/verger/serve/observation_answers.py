"""The answers about observations, and what owners say about them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from verger.database.observation_records import Feedback, Observation
from verger.serve.answers import Answer, Identification
from verger.serve.photo_store import PhotoStore


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
    link: str | None = Field(
        description="link to the bucket that needs no key, for ten minutes; null if there is no bucket"
    )
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


def observation_out(observation: Observation, store: PhotoStore) -> ObservationOut:
    """Return an observation as its owner sees it."""
    photos = [
        KeptPhoto(
            url=f"/v1/observations/{observation.id}/photos/{position}",
            link=store.link(photo.storage_key),
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
        feedback=None if observation.feedback is None else feedback_out(observation.feedback),
    )


def feedback_out(feedback: Feedback) -> FeedbackOut:
    """Return the answer for stored feedback."""
    return FeedbackOut(
        is_right=feedback.is_right,
        species=feedback.species,
        comment=feedback.comment,
        created_at=feedback.created_at,
    )
