"""Deletion of observations after their retention, and of the files that are recorded for deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from verger.database.deletions import delete_expired
from verger.database.photo_files import finish_deletions, pending_deletions
from verger.serve.data import migrated_database
from verger.serve.photo_store import PhotoStore
from verger.serve.settings import ServeSettings

_BATCH = 500


@dataclass(frozen=True)
class Purged:
    """Numbers of deleted observations and files, and of files that could not be deleted."""

    n_observations: int
    n_files: int
    n_failed: int


def purge_expired(settings: ServeSettings, now: datetime | None = None) -> Purged:
    """Delete observations older than `retention_days`, and all files whose deletion is due.

    A file that cannot be deleted is counted, and stays recorded for the next time.
    """
    now = now or datetime.now(UTC)
    oldest = now - timedelta(days=settings.retention_days)
    photos, n_observations, n_files, n_failed = PhotoStore(settings.photos), 0, 0, 0
    with migrated_database(settings) as database:
        while n_deleted := delete_expired(database, now, _BATCH, oldest).n_observations:
            n_observations += n_deleted
        while keys := pending_deletions(database, _BATCH, now, skip=n_failed):
            deleted = [key for key in keys if photos.try_delete(key)]
            finish_deletions(database, deleted)
            n_files += len(deleted)
            n_failed += len(keys) - len(deleted)
    return Purged(n_observations, n_files, n_failed)
