"""What the table of observations and its parts contain, as frozen dataclasses."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from verger.database.column_types import Vector


@dataclass(frozen=True)
class Feedback:
    """What a user says about an answer. species: what it is instead, if the user knows it."""

    is_right: bool
    species: str | None
    comment: str | None
    created_at: datetime


@dataclass(frozen=True)
class Photo:
    """A stored photo of an observation. position: from 0; storage_key: of its file, unique."""

    position: int
    sha256: str
    width: int
    height: int
    content_type: str
    n_bytes: int
    storage_key: str


@dataclass(frozen=True)
class NewPhoto(Photo):
    """A photo to store, with its features and the model that computed them, if they are to be stored."""

    vector: Vector | None = field(default=None, compare=False)
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class _ObservationFields:
    owner_sha256: str
    idempotency_key: str | None = None
    created_at: datetime
    expires_at: datetime
    answer: dict[str, Any]
    model: str
    classifier: str


@dataclass(frozen=True, kw_only=True)
class NewObservation(_ObservationFields):
    """An observation to store. answer: of /v1/identify, JSON; model, classifier: versions that answered."""

    photos: tuple[NewPhoto, ...]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, kw_only=True)
class Observation(_ObservationFields):
    """A stored observation."""

    photos: tuple[Photo, ...]
    id: str
    feedback: Feedback | None = None


@dataclass(frozen=True)
class Deletion:
    """Result of deleting observations: their number, and the storage keys of their photos.

    The keys are also in `photo_deletions`, until `finish_deletions`.
    """

    n_observations: int
    storage_keys: tuple[str, ...]
