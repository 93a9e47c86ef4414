"""`verger serve`: run the HTTP service, delete observations that are too old, manage API keys."""

from __future__ import annotations

from typing import Any

import typer

from verger.cli.app import SERVICE, app, console, messages
from verger.cli.flags import with_setting_flags
from verger.database.extra import check_serve_extra
from verger.errors import SettingsError, StorageError
from verger.serve.settings import GROUPS, STORAGE, ServeSettings, load_serve_settings

commands = typer.Typer(invoke_without_command=True)
app.add_typer(commands, name="serve", rich_help_panel=SERVICE)
keys = typer.Typer(help="Manage the API keys of apps, which have a higher rate limit.", no_args_is_help=True)
commands.add_typer(keys, name="keys")


@commands.callback()
@with_setting_flags(GROUPS, ServeSettings)
def serve(context: typer.Context, given: dict[str, Any]) -> None:
    """Name fruit over HTTP, with a page for phones, until Ctrl-C.

    \b
    verger serve
    verger serve --port 8080 --database-url postgresql://verger@db/verger --photos s3://fruit/photos
    verger serve --host 0.0.0.0 --certificate chain.pem --certificate-key key.pem
    verger serve purge
    """
    check_serve_extra()
    if context.invoked_subcommand is not None:
        if early := [name for name, value in given.items() if value is not None]:
            command = f"verger serve {context.invoked_subcommand}"
            raise SettingsError(early[0], given[early[0]], f"flags after the command: {command} --...")
        return
    from verger.serve.server import run_server

    settings = load_serve_settings(**given)
    run_server(settings, on_start=lambda url: messages.print(f"Verger is at {url}   (Ctrl-C stops it)"))
    messages.print("stopped")


@commands.command()
@with_setting_flags((STORAGE,), ServeSettings)
def purge(given: dict[str, Any]) -> None:
    """Delete observations that are older than allowed, with their photos, and unused uploads.

    Run it every day, for example with cron.

    \b
    verger serve purge
    verger serve purge --database-url postgresql://verger@db/verger --photos s3://fruit/photos
    """
    from verger.serve.purge import purge_expired

    purged = purge_expired(load_serve_settings(**given))
    console.print(f"deleted {purged.n_observations:,} observations and {purged.n_files:,} files of photos")
    if purged.n_failed:
        raise StorageError(f"{purged.n_failed:,} files could not be deleted; the next purge tries again")


@keys.command()
@with_setting_flags((STORAGE,), ServeSettings)
def create(name: str, given: dict[str, Any]) -> None:
    """Make an API key for an app and print it; it cannot be shown again.

    \b
    verger serve keys create "orchard app"
    """
    from verger.database.api_keys import create_key
    from verger.serve.data import migrated_database

    with migrated_database(load_serve_settings(**given)) as database:
        console.print(create_key(database, name), soft_wrap=True)


@keys.command("list")
@with_setting_flags((STORAGE,), ServeSettings)
def show(given: dict[str, Any]) -> None:
    """List the API keys: id, name, day of creation, day of the last use.

    \b
    verger serve keys list
    """
    from verger.database.api_keys import list_keys
    from verger.serve.data import migrated_database

    with migrated_database(load_serve_settings(**given)) as database:
        for key in list_keys(database):
            state = "revoked" if key.revoked_at else f"last used {key.last_used_day or 'never'}"
            console.print(f"{key.id}  {key.name}  created {key.created_at:%Y-%m-%d}  {state}", soft_wrap=True)


@keys.command()
@with_setting_flags((STORAGE,), ServeSettings)
def revoke(key_id: str, given: dict[str, Any]) -> None:
    """Make an API key invalid, by its id.

    \b
    verger serve keys revoke 6f1e2d3c-8a4b-4c1d-9e2f-0a1b2c3d4e5f
    """
    from verger.database.api_keys import revoke_key
    from verger.serve.data import migrated_database

    with migrated_database(load_serve_settings(**given)) as database:
        if not revoke_key(database, key_id):
            raise SettingsError("key_id", key_id, "the id of a valid key: `verger serve keys list` shows them")
    console.print(f"revoked {key_id}")
