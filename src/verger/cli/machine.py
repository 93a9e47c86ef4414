"""What verger knows, and what it needs of this machine."""

from __future__ import annotations

import typer

from verger import __version__
from verger.cli import tables
from verger.cli.app import EXIT_ERROR, app, console, messages
from verger.cli.progress_bar import watching


@app.command()
def models() -> None:
    """The networks verger knows by name."""
    console.print(tables.models_table())


@app.command("warm-up")
def warm_up() -> None:
    """Make later starts faster: convert the default network; archive Spark's classes. Takes a minute, once."""
    from verger.cli.warmup import warm_up

    with watching(messages) as watch:
        archive = warm_up(watch)
    if archive is None:
        console.print("the network is ready; there is no Spark here, or its Java writes no archive of classes")
    else:
        console.print(f"Spark's classes are archived in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")


@app.command()
def doctor() -> None:
    """Examine what verger needs of this machine, and how to fix what is missing."""
    from verger.cli.diagnosis import examine

    findings = examine()
    console.print(tables.doctor_table(findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def version() -> None:
    """The version."""
    console.print(__version__)
