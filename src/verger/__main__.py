"""The command `verger`, also as `python -m verger`.

The slow imports are inside a function, so that Ctrl-C during an import ends the program without a traceback.
"""

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


def _remove_working_folder() -> None:
    """Remove the working folder, which `python -m` adds to sys.path: no module must be imported from it."""
    is_source_folder = Path(__file__).parents[1] == Path.cwd()
    if not is_source_folder and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]


if __name__ == "__main__":
    _remove_working_folder()
    main()
