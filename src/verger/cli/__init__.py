"""The command line: each command parses its arguments, calls one function and prints the result.

`*_commands.py` define the commands, `flags.py` and `*_flags.py` the flags, `*tables.py` the tables to print.
"""

from __future__ import annotations

import os
import signal
import sys

from verger.cli.app import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, InterruptedUnchanged, app, messages
from verger.errors import SettingsError, VergerError

# Importing a module registers its commands. This is their order in `verger --help`.
# isort: off
from verger.cli import pipeline_commands, learn_commands, cluster_commands, cost_command, cloud_commands  # noqa: F401
from verger.cli import machine_commands  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line.

    A VergerError or OSError is printed as one line. SIGINT, SIGTERM and SIGHUP end the program with exit code 130.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup makes the program ignore SIGHUP
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        app()
    except SettingsError as error:
        _print_error(error)
        sys.exit(EXIT_USAGE)
    except VergerError as error:
        _print_error(error)
        # An interrupt just after the result was written becomes a ResultError, see `verger.storage.commit`.
        is_interrupt = isinstance(error.__cause__, KeyboardInterrupt)
        sys.exit(EXIT_INTERRUPTED if is_interrupt else EXIT_ERROR)
    except InterruptedUnchanged:
        messages.print("interrupted: nothing was changed", style="yellow")
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as error:
        if error.code == EXIT_INTERRUPTED:  # Typer has caught a KeyboardInterrupt
            messages.print("interrupted", style="yellow")
        raise
    except BrokenPipeError:  # as in `verger models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # such as a full disk or a folder without permission
        _print_error(error)
        sys.exit(EXIT_ERROR)


def _print_error(error: Exception) -> None:
    messages.print("[bold red]error:[/bold red]", end=" ")
    messages.print(str(error), markup=False, highlight=False, soft_wrap=True)
