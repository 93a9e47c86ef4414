"""Write a file or a folder under a temporary name, then rename it: a reader never sees an incomplete one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# End of temporary names. They begin with a dot, so that readers of tables skip a file that a killed process left.
PART = ".verger-part"


@contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `file`; rename it to `file` if the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(file)
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def fill_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; rename it to `folder` if the block ends without an error.

    If another process has completed `folder` in the meantime, that folder is kept. Raises OSError.
    """
    temporary = _temporary_path(folder)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder.is_dir() and any(folder.iterdir())):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush(path: str | Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot flush folders
            raise
    finally:
        os.close(handle)


def _temporary_path(path: Path) -> Path:
    # The pid is not enough: containers that share a disk may have equal pids.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}")
