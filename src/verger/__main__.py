"""The command `verger`, also as `python -m verger`. Its imports are inside: they take a while to interrupt too."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from verger.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
