"""The models and classifiers that have answered, for questions about an old answer."""

from __future__ import annotations

from datetime import UTC, datetime

from verger.database.connection import Database
from verger.database.rows import insert_missing
from verger.database.tables import models


def record_model(database: Database, name: str, weights_sha256: str, classifier_sha256: str) -> bool:
    """Record a model with its classifier, unless it is recorded; returns whether it is new."""
    row = {"name": name, "weights_sha256": weights_sha256, "classifier_sha256": classifier_sha256}
    unique = (models.c.name, models.c.weights_sha256, models.c.classifier_sha256)
    with database.writing() as connection:
        return insert_missing(connection, models, row | {"first_seen_at": datetime.now(UTC)}, unique)
