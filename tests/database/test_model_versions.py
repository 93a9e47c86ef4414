from __future__ import annotations

from verger.database.connection import Database
from verger.database.model_versions import record_model


def test_a_model_is_recorded_once(database: Database) -> None:
    assert record_model(database, "EfficientNetLite2", "aa", "bb")
    assert not record_model(database, "EfficientNetLite2", "aa", "bb")
    assert record_model(database, "EfficientNetLite2", "aa", "cc")
