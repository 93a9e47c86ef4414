"""Messages for libraries that cannot be used. They name the failing file, and PYTHONPATH if it selects the file."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path


def describe_failed_import(error: BaseException) -> str:
    """Return a line with the innermost cause of a failed import, the file, and what to do."""
    return describe_pythonpath(error) or (
        f"a library cannot be imported: {describe_cause(error)} ({_files(error)[-1]}): install verger again in "
        f"{sys.prefix}"
    )


def describe_pythonpath(error: BaseException) -> str | None:
    """Return a line about an error in a module that PYTHONPATH selects; None if no such module is involved."""
    own = Path(__file__).resolve().parents[1]
    folders = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for file in reversed(_files(error)):
        path = Path(file).resolve()
        for folder in folders:
            if path.is_relative_to(folder) and not path.is_relative_to(own):
                return (
                    f"PYTHONPATH = {str(folder)!r} holds a module that verger cannot use: {describe_cause(error)} "
                    f"({file}): unset PYTHONPATH"
                )
    return None


def describe_cause(error: BaseException) -> str:
    """Return the class and the message of the innermost cause of an error, in one line."""
    innermost = _innermost(error)
    return " ".join(f"{type(innermost).__name__}: {innermost}".split())


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _files(error: BaseException) -> list[str]:
    """Return the files of the modules in which an error occurred or that its message names; these come last."""
    innermost = _innermost(error)
    frames = [frame.filename for frame in traceback.extract_tb(innermost.__traceback__)]
    named = [getattr(innermost, "filename", None), getattr(innermost, "path", None)]
    # A module lacks a name or a submodule: "module 'numpy' has no attribute", "No module named 'numpy.typing'".
    modules = [sys.modules.get(name) for name in re.findall(r"odule (?:named )?'(\w+)", str(innermost))]
    files = [*frames, *named, *(getattr(module, "__file__", None) for module in modules)]
    return [file for file in files if isinstance(file, str) and os.path.isfile(file)] or [__file__]
