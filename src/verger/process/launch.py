"""Command and environment of a Python child process that imports the parent's modules, not the working folder's."""

from __future__ import annotations

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module, without importing from the working folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Return this process's environment, with PYTHONPATH set to its module search path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
