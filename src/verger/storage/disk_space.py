"""Error message for a full disk: the free space on each disk that a run writes to, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from verger.errors import SpaceError
from verger.storage.cache import cache_dir

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explain_full_disk(folders: Iterable[Path]) -> Iterator[None]:
    """Translate the OSError of a full disk into a SpaceError with the free space of each disk.

    folders: the folders to which the run writes, in addition to the temporary folder and the cache.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        written = [*folders, Path(tempfile.gettempdir()), cache_dir()]
        problem = "a disk quota is used up" if error.errno == errno.EDQUOT else "a disk is full"
        raise SpaceError(
            f"{problem}; free: {', '.join(_free_space(written))}. Make room, or choose other folders (OUT, "
            "--conf spark.local.dir=FOLDER, TMPDIR, VERGER_CACHE), and run again: nothing was changed"
        ) from error


def _free_space(folders: Iterable[Path]) -> list[str]:
    """Return the free space of each disk. A disk is named by the first of the folders on it."""
    first: dict[int, Path] = {}
    for folder in folders:
        if folder.exists():
            first.setdefault(os.stat(folder).st_dev, folder)
    return [f"{decimal(shutil.disk_usage(folder).free)} in {folder}" for folder in first.values()]
