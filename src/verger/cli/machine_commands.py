"""Commands about this installation: models, doctor, warm-up and version."""

from __future__ import annotations

import typer

from verger import __version__
from verger.cli import tables
from verger.cli.app import EXIT_ERROR, MACHINE, app, console, messages
from verger.cli.progress_bar import show_progress


@app.command(rich_help_panel=MACHINE)
def models() -> None:
    """List the networks that --model accepts by name.

    \b
    verger models
    """
    console.print(tables.models_table())


@app.command(rich_help_panel=MACHINE)
def doctor() -> None:
    """Check this machine, and show how to fix problems.

    Exits with 1 if a check fails.

    \b
    verger doctor
    """
    from verger.cli.machine_check import check_machine

    checks = check_machine()
    console.print(tables.doctor_table(checks))
    if not all(check.is_ok for check in checks):
        raise typer.Exit(EXIT_ERROR)


@app.command("warm-up", rich_help_panel=MACHINE)
def warm_up() -> None:
    """Prepare this machine for faster starts: convert the default network, and archive Spark's classes.

    \b
    verger warm-up
    """
    from verger.cli.warmup import warm_up

    with show_progress(messages) as progress:
        archive = warm_up(progress)
    if archive is None:
        console.print("the network is ready; no class archive, as Spark is missing or its Java cannot write one")
    else:
        console.print(f"Spark's classes are archived in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")


@app.command(rich_help_panel=MACHINE)
def version() -> None:
    """Print the version.

    \b
    verger version
    """
    console.print(__version__)
