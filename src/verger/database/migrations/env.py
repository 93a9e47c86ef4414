"""Run migrations in the transaction of the caller; alembic executes this file."""

from __future__ import annotations

from alembic import context

from verger.database.tables import METADATA

# render_as_batch: SQLite changes a table by copying it.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True
)
context.run_migrations()
