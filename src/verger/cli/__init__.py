"""The command line: parses, calls one function, prints. No logic."""

from __future__ import annotations

import os
import signal
import sys

from verger.cli.app import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, app, messages
from verger.errors import SettingsError, VergerError

# These join the app, in the order that `verger --help` shows.
# isort: off
from verger.cli import classifier, cloud, cluster, cost, machine, photos  # noqa: F401
# isort: on

__all__ = ["app", "main"]

# Commands that change nothing where they do not end.
_WHOLE_OR_NOTHING = ("run", "features", "pack", "reduce", "augment", "train", "evaluate", "finetune")


def main() -> None:
    """Run the command line: errors raised on purpose become one line, Ctrl-C, kill and hang-up exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        app()
    except SettingsError as error:
        _complain(error)
        sys.exit(EXIT_USAGE)
    except VergerError as error:
        _complain(error)
        has_changed = isinstance(error.__cause__, KeyboardInterrupt)  # see `publish`
        sys.exit(EXIT_INTERRUPTED if has_changed else EXIT_ERROR)
    except SystemExit as ending:  # typer has made one of Ctrl-C
        if ending.code == EXIT_INTERRUPTED:
            is_whole_or_nothing = sys.argv[1:2] and sys.argv[1] in _WHOLE_OR_NOTHING
            messages.print(f"interrupted{': nothing was changed' * bool(is_whole_or_nothing)}", style="yellow")
        raise
    except BrokenPipeError:  # `verger models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that may not be written
        _complain(error)
        sys.exit(EXIT_ERROR)


def _complain(error: Exception) -> None:
    messages.print("[bold red]error:[/bold red]", end=" ")
    messages.print(str(error), markup=False, highlight=False, soft_wrap=True)
