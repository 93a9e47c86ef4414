"""Observations to put into a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from verger.database.observation_records import NewObservation, NewPhoto

NOW = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = "0a" * 32
OTHER = "1b" * 32


def new_photo(key: str, position: int = 0) -> NewPhoto:
    """A photo, with a vector that depends on its position."""
    vector = np.array([position, 0.1, -1e30], np.float32)
    return NewPhoto(
        position, "5f" * 32, 4000, 3000, "image/jpeg", 123_456, key, vector, "EfficientNetLite2-9656183e"
    )


def new_observation(*keys: str, owner: str = OWNER, **values: Any) -> NewObservation:
    """An observation with one photo for each storage key."""
    fields: dict[str, Any] = {
        "created_at": NOW,
        "expires_at": NOW + timedelta(days=30),
        "answer": {"decision": "sure", "candidates": [{"species": "banana", "probability": 0.93}]},
        "model": "EfficientNetLite2-9656183e",
        "classifier": "ab12cd34",
        "photos": tuple(new_photo(key, position) for position, key in enumerate(keys)),
    }
    return NewObservation(owner_sha256=owner, **(fields | values))
