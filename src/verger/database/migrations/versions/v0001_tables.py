"""Create the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    _create_observations()
    _create_parts_of_observations()
    _create_photo_deletions()
    _create_tables_of_the_service()


def downgrade() -> None:
    """Drop all tables."""
    op.drop_table("photos")
    op.drop_table("feedback")
    op.drop_index(op.f("ix_photo_deletions_due_at"), table_name="photo_deletions")
    op.drop_table("photo_deletions")
    op.drop_index(op.f("ix_observations_owner_sha256_created_at_id"), table_name="observations")
    op.drop_index(op.f("ix_observations_expires_at"), table_name="observations")
    op.drop_table("observations")
    op.drop_table("models")
    op.drop_table("facts")
    op.drop_table("batches")
    op.drop_table("api_keys")


def _create_observations() -> None:
    op.create_table(
        "observations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner_sha256", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observations")),
        sa.UniqueConstraint(
            "owner_sha256", "idempotency_key", name=op.f("uq_observations_owner_sha256_idempotency_key")
        ),
    )
    op.create_index(op.f("ix_observations_expires_at"), "observations", ["expires_at"], unique=False)
    op.create_index(
        op.f("ix_observations_owner_sha256_created_at_id"),
        "observations",
        ["owner_sha256", "created_at", "id"],
        unique=False,
    )


def _create_parts_of_observations() -> None:
    op.create_table(
        "feedback",
        sa.Column("observation_id", sa.Text(), nullable=False),
        sa.Column("is_right", sa.Boolean(), nullable=False),
        sa.Column("species", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["observation_id"],
            ["observations.id"],
            name=op.f("fk_feedback_observation_id_observations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("observation_id", name=op.f("pk_feedback")),
    )
    op.create_table(
        "photos",
        sa.Column("observation_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["observation_id"],
            ["observations.id"],
            name=op.f("fk_photos_observation_id_observations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("observation_id", "position", name=op.f("pk_photos")),
        sa.UniqueConstraint("storage_key", name=op.f("uq_photos_storage_key")),
    )


def _create_photo_deletions() -> None:
    op.create_table(
        "photo_deletions",
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("pk_photo_deletions")),
    )
    op.create_index(op.f("ix_photo_deletions_due_at"), "photo_deletions", ["due_at"], unique=False)


def _create_tables_of_the_service() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_day", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
    )
    op.create_table(
        "batches",
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "batch_id", name=op.f("pk_batches")),
    )
    op.create_table(
        "facts",
        sa.Column("species", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.CheckConstraint("language IN ('en', 'fr')", name=op.f("ck_facts_language")),
        sa.PrimaryKeyConstraint("species", "language", name=op.f("pk_facts")),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        sa.Column("classifier_sha256", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "weights_sha256", "classifier_sha256", name=op.f("pk_models")),
    )
