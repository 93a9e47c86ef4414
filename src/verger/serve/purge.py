"""Deletion of observations after their retention, and of photos that have no observation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from verger.database.deletions import delete_expired
from verger.database.photo_files import finish_deletions, pending_deletions
from verger.serve.data import migrated_database
from verger.serve.photo_store import PhotoStore
from verger.serve.settings import ServeSettings

_BATCH = 500


@dataclass(frozen=True)
class Purged:
    """Numbers of deleted observations and photos."""

    n_observations: int
    n_photos: int


def purge_expired(settings: ServeSettings, now: datetime | None = None) -> Purged:
    """Delete observations whose time is over, and the photos of all deleted observations."""
    now = now or datetime.now(UTC)
    photos, n_observations, n_photos = PhotoStore(settings.photos), 0, 0
    with migrated_database(settings) as database:
        while n_deleted := delete_expired(database, now, _BATCH).n_observations:
            n_observations += n_deleted
        while keys := pending_deletions(database, _BATCH, now):
            for key in keys:
                photos.delete(key)
            finish_deletions(database, keys)
            n_photos += len(keys)
    return Purged(n_observations, n_photos)
