"""The Typer application, its exit codes and consoles, and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from typer.core import TyperGroup

EXIT_ERROR, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 1, 2, 3, 130

# The panels of `verger --help`, in this order.
PIPELINE, RECOGNITION, SERVICE = "Pipeline", "Recognition", "Service"
CLUSTERS, MACHINE = "Clusters and clouds", "This machine"


class PanelGroup(TyperGroup):
    """A group of commands; its help lists the commands in the order of the panels above."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of the commands, sorted by panel. Without this, Typer lists groups of commands first."""
        panels = (PIPELINE, RECOGNITION, SERVICE, CLUSTERS, MACHINE)
        return sorted(self.commands, key=lambda name: panels.index(self.commands[name].rich_help_panel))  # type: ignore[attr-defined]


app = typer.Typer(
    cls=PanelGroup,
    help="Compute CNN features and principal components of fruit photos, on a laptop or on Spark.",
    epilog="To try it: verger sample photos/ && verger run photos/ out/",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Names of files may contain square brackets, which Rich would take for markup.
console = Console(markup=False)  # results
messages = Console(stderr=True, markup=False)  # progress, warnings and errors

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC", help="photos: a folder, a file:, s3:, gs:, abfss: or az: URI, or a glob pattern in quotes"
    ),
]
Features = Annotated[str, typer.Argument(metavar="FEATURES", help="a result of `verger features` or `verger run`")]
Result = Annotated[str, typer.Argument(metavar="OUT", help="the folder or URI of the result")]
Trained = Annotated[
    str | None,
    typer.Option(
        help="a result of `verger train` or `verger finetune`, or EfficientNetLite2 or fruitnet, which are bundled"
    ),
]
Update = Annotated[str | None, typer.Option(help="add the features to the PCA of this earlier result")]


class InterruptedUnchanged(Exception):  # noqa: N818
    """A command was interrupted before it changed anything."""


@contextmanager
def atomic_result() -> Iterator[None]:
    """Turn Ctrl-C into InterruptedUnchanged, for commands that write their result in one step at the end.

    For an interrupt after this step, `verger.storage.commit` raises a ResultError, which stays unchanged.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedUnchanged from None
