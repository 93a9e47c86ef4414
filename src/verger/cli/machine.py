"""What verger knows, and what it needs of this machine."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from verger import __version__, tables
from verger.cli.app import EXIT_ERROR, app, console, messages
from verger.console import watching
from verger.errors import SettingsError
from verger.uri import local_folder


@app.command()
def models() -> None:
    """The networks verger knows by name."""
    console.print(tables.models_table())


@app.command("warm-up")
def warm_up() -> None:
    """Make later starts faster: archive Spark's classes, convert the default network. Takes a minute, once."""
    from verger.warmup import warm_up

    with watching(messages) as watch:
        archive = warm_up(watch)
    if archive is None:
        console.print("the network is ready; this Java writes no archive of classes, so Spark starts as before")
    else:
        console.print(f"Spark's classes are archived in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")


@app.command()
def connectors(
    store: Annotated[str, typer.Argument(help="s3a, gs or abfss")],
    to: Annotated[str | None, typer.Option(help="copy the jars there too, for a machine without a network")] = None,
) -> None:
    """Fetch the jars with which Spark reads and writes an object store. A run does so itself where it can.

    \b
    verger connectors s3a
    verger connectors s3a --to jars/     # elsewhere: VERGER_JARS=jars verger run s3a://... s3a://...
    """
    from verger.connectors import KINDS, connector, fetch

    if store not in KINDS:
        raise SettingsError("store", store, sorted(set(KINDS.values())))
    jars = fetch(KINDS[store], messages.print)
    folder = jars[0].parent
    if to is not None:
        folder = shutil.copytree(folder, local_folder(to) / connector(KINDS[store]).name, dirs_exist_ok=True)
    console.print(f"{len(jars)} jars, {sum(jar.stat().st_size for jar in jars) / 1e6:.0f} MB, in {folder}")


@app.command()
def doctor() -> None:
    """Look at what verger needs of this machine, and how to mend what is missing."""
    from verger.doctor import examine

    findings = examine()
    console.print(tables.doctor_table(findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def version() -> None:
    """The version."""
    console.print(__version__)
