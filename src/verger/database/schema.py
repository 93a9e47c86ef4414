"""The version of the tables in a database, and migrations to the version of this verger."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from verger.errors import DatabaseError

_MIGRATIONS = Path(__file__).parent / "migrations"
# alembic's `context` is global: one thread at a time can run migrations.
_ALEMBIC_LOCK = threading.Lock()


def upgrade_schema(connection: sa.Connection) -> None:
    """Migrate the tables to the newest version, in the transaction of the connection, which must hold a lock."""
    _known_version(connection)
    migrate(connection, "head")


def migrate(connection: sa.Connection, version: str) -> None:
    """Migrate the tables up to `head`, or down to an earlier version or `base`, in the connection's transaction."""
    run = command.downgrade if version != "head" else command.upgrade
    with _ALEMBIC_LOCK:
        run(_config(connection), version)


def check_schema(connection: sa.Connection) -> None:
    """Raise DatabaseError if the tables do not have the newest version."""
    version, head = _known_version(connection), head_version()
    if version != head:
        found = f"has version {version}" if version else "has no tables of verger"
        raise DatabaseError(f"the database {found}, this verger needs version {head}: upgrade the database first")


@functools.cache
def head_version() -> str:
    """Return the newest version of the tables that this verger can use."""
    head = _scripts().get_current_head()
    assert head is not None
    return head


def _known_version(connection: sa.Connection) -> str | None:
    """Return the version of the tables, None if there are none; raises DatabaseError if it is a newer verger's."""
    # Without alembic's MigrationContext, which logs two lines each time.
    is_there = sa.inspect(connection).has_table("alembic_version")
    version = connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if is_there else None
    if version is not None and version not in _versions():
        raise DatabaseError(
            f"the database has version {version}, but this verger knows only versions up to {head_version()}: "
            "install the verger that has upgraded the database, or a newer one"
        )
    return version


@functools.cache
def _versions() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
