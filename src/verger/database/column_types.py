"""Column types that have the same Python values on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Dialect

Vector = NDArray[np.float32]


class UtcTime(sa.TypeDecorator[datetime]):
    """A time in UTC with microseconds. SQLite stores no time zone, so it stores the time in UTC without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a time to UTC; a time without a time zone is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored time with the time zone UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(sa.TypeDecorator[str]):
    """Text without the characters that PostgreSQL or UTF-8 cannot represent: NUL, and halves of surrogate pairs."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text that is stored, or compared with stored text."""
        return None if value is None else value.replace("\0", "").encode(errors="replace").decode()


class VectorBytes(sa.TypeDecorator[Vector]):
    """A vector of float32, stored as little-endian bytes."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> bytes | None:
        """Return the bytes of a vector."""
        return None if value is None else np.ascontiguousarray(value, "<f4").tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Vector | None:
        """Return the vector of stored bytes."""
        return None if value is None else np.frombuffer(value, "<f4").astype(np.float32)
