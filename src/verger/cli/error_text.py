"""Describe errors in one line: VergerErrors, errors of the operating system, and unexpected errors."""

from __future__ import annotations

import errno
import os
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from verger.errors import VergerError
from verger.process.failed_import import describe_cause, describe_failed_import, describe_pythonpath
from verger.storage.cache import CACHE_VARIABLE, STATE_VARIABLE, cache_dir, state_dir

_ADVICE = {
    errno.EACCES: "check the permissions of this path, or choose another one",
    errno.EPERM: "check the permissions of this path, or choose another one",
    errno.EROFS: "choose a path on a disk that can be written to",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.ENFILE: "raise the limit of open files: ulimit -n 65536",
}


def describe_error(error: Exception) -> str:
    """Return the text of an error for the user. The traceback of an unexpected error is written to a file."""
    if isinstance(error, VergerError):
        return str(error)
    return _describe_os_error(error) if isinstance(error, OSError) else _describe_unexpected(error)


def _describe_os_error(error: OSError) -> str:
    """Return the path, the cause and what to do."""
    path = error.filename if isinstance(error.filename, str) else None
    if error.strerror is None:
        return str(error)
    cause = f"{path}: {error.strerror}" if path else f"{error.strerror} (errno {error.errno})"
    advice = (_variable_advice(path) if path else None) or _ADVICE.get(error.errno or 0)
    return f"{cause}; {advice}" if advice else cause


def _describe_unexpected(error: Exception) -> str:
    """Return the innermost cause of an error, and the file to which its traceback was written."""
    if isinstance(error, ImportError):
        return describe_failed_import(error)
    if about_path := describe_pythonpath(error):
        return about_path
    log = _write_traceback(error)
    return f"unexpected {describe_cause(error)}" + (f"; please report it with {log}" if log else "")


def _variable_advice(path: str) -> str | None:
    """Return advice for a path in a folder that a variable sets."""
    with suppress(VergerError):
        for variable, folder in ((CACHE_VARIABLE, cache_dir()), (STATE_VARIABLE, state_dir())):
            if Path(path).is_relative_to(folder) or folder.is_relative_to(path):
                return f"set {variable} to a folder that you can write to"
    if os.environ.get("TMPDIR") and Path(path).is_relative_to(os.environ["TMPDIR"]):
        return "set TMPDIR to a folder that you can write to"
    return None


def _write_traceback(error: Exception) -> str | None:
    """Write the traceback of an error to a new file in the cache or in the temporary folder; return its path."""
    text = "".join(traceback.format_exception(error))
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with suppress(OSError, VergerError):
        file = cache_dir() / "logs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
        return str(file)
    with suppress(OSError):
        file = Path(tempfile.gettempdir()) / f"verger-{name}"
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
        return str(file)
    return None
