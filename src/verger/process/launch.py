"""How verger starts a Python process of its own: with the driver's modules, and none of the working folder."""

from __future__ import annotations

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module; it does not import what lies in the working folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Return this process's environment, with its module path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
