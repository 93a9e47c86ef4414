"""Thumbnails as a task makes them, in this process."""

from __future__ import annotations

from collections.abc import Sequence

from verger.tasks.base import Attempt
from verger.tasks.thumbnails import BUDGET_BYTES, ThumbnailJob, thumbnails_of


def thumbnails_here(paths: Sequence[str], budget_bytes: int = BUDGET_BYTES) -> list[str | None]:
    return thumbnails_of(ThumbnailJob(len(paths), budget_bytes), paths, Attempt())
