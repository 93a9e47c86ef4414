"""The tables of the service. A change here needs a migration in `migrations/versions`; times are in UTC.

The only trace of a person is `owner_sha256`, the hash of the random key that a phone has made.
"""

from __future__ import annotations

import sqlalchemy as sa

from verger.database.column_types import PlainText, UtcTime, VectorBytes

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _observation_key() -> sa.Column[str]:
    reference = sa.ForeignKey("observations.id", ondelete="CASCADE")
    return sa.Column("observation_id", PlainText, reference, primary_key=True)


observations = sa.Table(
    "observations",
    METADATA,
    sa.Column("id", PlainText, primary_key=True),  # a UUID
    sa.Column("owner_sha256", PlainText, nullable=False),
    sa.Column("idempotency_key", PlainText),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),  # of /v1/identify
    sa.Column("model", PlainText, nullable=False),
    sa.Column("classifier", PlainText, nullable=False),
    sa.UniqueConstraint("owner_sha256", "idempotency_key"),
    sa.Index(None, "owner_sha256", "created_at", "id"),
    sa.Index(None, "expires_at"),
)

photos = sa.Table(
    "photos",
    METADATA,
    _observation_key(),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),  # from 0
    sa.Column("sha256", PlainText, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("content_type", PlainText, nullable=False),
    sa.Column("n_bytes", sa.Integer, nullable=False),
    # Unique, so that deleting the file of one observation cannot delete a photo of another.
    sa.Column("storage_key", PlainText, nullable=False, unique=True),
    sa.Column("vector", VectorBytes),
    sa.Column("model", PlainText),  # that computed the vector
)

feedback = sa.Table(
    "feedback",
    METADATA,
    _observation_key(),
    sa.Column("is_right", sa.Boolean, nullable=False),
    sa.Column("species", PlainText),
    sa.Column("comment", PlainText),
    sa.Column("created_at", UtcTime, nullable=False),
)

# Files of photos that have to be deleted from storage: those of deleted rows, and those of uploads that have not
# become an observation when `due_at` is reached.
photo_deletions = sa.Table(
    "photo_deletions",
    METADATA,
    sa.Column("storage_key", PlainText, primary_key=True),
    sa.Column("due_at", UtcTime, nullable=False, index=True),
)

api_keys = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", PlainText, primary_key=True),  # a UUID
    sa.Column("name", PlainText, nullable=False),
    sa.Column("key_sha256", PlainText, nullable=False, unique=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
    sa.Column("last_used_day", sa.Date),
)

facts = sa.Table(
    "facts",
    METADATA,
    sa.Column("species", PlainText, primary_key=True),
    sa.Column("language", PlainText, primary_key=True),
    sa.Column("version", PlainText, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # in the alphabetical order of the language
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column(
        "search_text", PlainText, nullable=False
    ),  # names in all languages, one a line, without case and accents
    sa.CheckConstraint("language IN ('en', 'fr')", name="language"),
)

models = sa.Table(
    "models",
    METADATA,
    sa.Column("name", PlainText, primary_key=True),
    sa.Column("weights_sha256", PlainText, primary_key=True),
    sa.Column("classifier_sha256", PlainText, primary_key=True),
    sa.Column("first_seen_at", UtcTime, nullable=False),
)

# Batches that a stream has committed; a batch that is repeated after a crash finds its row here.
batches = sa.Table(
    "batches",
    METADATA,
    sa.Column("stream_id", PlainText, primary_key=True),
    sa.Column("batch_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("committed_at", UtcTime, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
)
