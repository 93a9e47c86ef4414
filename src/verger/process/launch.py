"""Start a Python child process that imports the same modules as its parent, but none from the working folder."""

from __future__ import annotations

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module, without importing from the working folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Return the environment of this process, with PYTHONPATH set to the module search path of this process."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
