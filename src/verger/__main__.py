"""The command `verger`, also as `python -m verger`. Its imports are inside: they take a while to interrupt too."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    try:
        from verger.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    command_line()


def _leave_out_working_folder() -> None:
    """Take off Python's path what `python -m` puts there: a `random.py` in the working folder is the user's own."""
    is_own = Path(__file__).parents[1] == Path.cwd()
    if not is_own and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]


if __name__ == "__main__":
    _leave_out_working_folder()
    main()
