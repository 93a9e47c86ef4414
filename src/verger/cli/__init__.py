"""The command line: each command parses its arguments, calls one function and prints the result.

`*_commands.py` define the commands, `flags.py` and `*_flags.py` the flags, `*tables.py` the tables to print.
"""

from __future__ import annotations

import os
import signal
import sys

from verger.cli.app import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, InterruptedUnchanged, app, messages
from verger.cli.environment import check_working_folder, escape_output, unknown_variables
from verger.cli.error_text import describe_error
from verger.errors import SettingsError, VergerError
from verger.storage.cache import set_home

# Importing a module registers its commands. This is their order in `verger --help`.
# isort: off
from verger.cli import pipeline_commands, learn_commands, serve_commands, cluster_commands  # noqa: F401
from verger.cli import cost_command, cloud_commands, machine_commands  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line.

    Every error is printed as one line. SIGINT, SIGTERM and SIGHUP end the program with exit code 130.
    """
    escape_output()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup makes the program ignore SIGHUP
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        check_working_folder()
        set_home()
        for name, advice in unknown_variables().items():
            warning = f"warning: {name} is not a variable of verger and has no effect: {advice}"
            messages.print(warning, style="yellow", highlight=False, soft_wrap=True)
        app()
    except InterruptedUnchanged:
        messages.print("interrupted: nothing was changed", style="yellow")
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as error:
        if error.code == EXIT_INTERRUPTED:  # Typer has caught a KeyboardInterrupt
            messages.print("interrupted", style="yellow")
        raise
    except BrokenPipeError:  # as in `verger models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        messages.print("error:", style="bold red", end=" ")
        messages.print(describe_error(error), highlight=False, soft_wrap=True)
        sys.exit(_exit_code(error))


def _exit_code(error: Exception) -> int:
    # True for an interrupt just after the result was written, see `verger.storage.commit`.
    if isinstance(error, VergerError) and isinstance(error.__cause__, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_ERROR
