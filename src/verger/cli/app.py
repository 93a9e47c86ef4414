"""The application that the commands join, what it prints to, and the arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

EXIT_ERROR, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    help="From a folder of fruit photos to CNN features and PCA components, on a laptop or on Spark.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

console = Console()
messages = Console(stderr=True)

Source = Annotated[
    str, typer.Argument(metavar="SRC", help="a folder, a file:, s3:, gs:, abfss: or az: URI, or a glob in quotes")
]
Features = Annotated[str, typer.Argument(metavar="FEATURES", help="a result, or its features folder")]
Result = Annotated[str, typer.Argument(metavar="OUT", help="the folder of the result, or a URI")]
Trained = Annotated[str | None, typer.Option(help="a result of `verger train`; the bundled one by default")]
Update = Annotated[str | None, typer.Option(help="fold in with this earlier result's PCA state")]
