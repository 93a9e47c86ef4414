"""The thumbnail task: small copies of photos, as data URIs for the report."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from verger.errors import DecodeError, StorageError
from verger.kernel.decode import decode_image
from verger.sources.content import read_photo
from verger.storage.objects import listed_object
from verger.storage.uri import is_local, local_file
from verger.tasks.base import Attempt
from verger.tasks.time_limit import time_limit

SIZE_PX = 64
QUALITY = 60
# Decoding 1 GiB of camera photos takes one core half a minute; a larger budget would delay the run.
BUDGET_BYTES = 1 << 30
PHOTOS_PER_TASK = 128

# Photos requested from an object store at the same time.
_N_REQUESTS = 8
# Time limit for all photos of a task.
_TASK_LIMIT_S = 600
# JPEGs are decoded at a reduced scale, but not below this size, so that bilinear resizing has enough pixels.
_MIN_DECODE_PX = (2 * SIZE_PX, 2 * SIZE_PX)


@dataclass(frozen=True)
class ThumbnailJob:
    """Shared state of the thumbnail tasks of a report.

    budget_bytes: limit on the bytes read for all `n_photos` photos. A task's share is proportional to its photos.
    """

    n_photos: int
    budget_bytes: int = BUDGET_BYTES


def thumbnails_of(job: ThumbnailJob, paths: Sequence[str], attempt: Attempt) -> list[str | None]:
    """Return one WebP data URI per path; None if the photo is missing, is not an image or exceeds the budget.

    Photos are read in the given order if they fit into the rest of the task's share of the budget; the first photo
    that can be read is read in any case. A task that has failed twice makes no thumbnails.
    """
    if attempt.number > 1:
        return [None] * len(paths)
    n_threads = attempt.n_threads if all(map(is_local, paths)) else max(_N_REQUESTS, attempt.n_threads)
    with time_limit(_TASK_LIMIT_S), ThreadPoolExecutor(n_threads) as pool:
        is_read = _affordable(pool.map(_size, paths), job.budget_bytes * len(paths) // job.n_photos)
        chosen = [path if affordable else None for path, affordable in zip(paths, is_read, strict=True)]
        return list(pool.map(_thumbnail, chosen))


def _affordable(sizes: Iterable[int | None], budget_bytes: int) -> list[bool]:
    """Return for each size whether this photo is read; a size is None if the photo cannot be read."""
    chosen: list[bool] = []
    for n_bytes in sizes:
        chosen.append(n_bytes is not None and (n_bytes <= budget_bytes or not any(chosen)))
        budget_bytes -= n_bytes if n_bytes is not None and chosen[-1] else 0
    return chosen


def _size(uri: str) -> int | None:
    try:
        if (remote := listed_object(uri)) is not None:
            return remote.size()
        return os.stat(local_file(uri)).st_size
    except (OSError, ValueError, StorageError):  # ValueError: a zero byte in the name
        return None


def _thumbnail(uri: str | None) -> str | None:
    if uri is None:
        return None
    try:
        image = decode_image(read_photo(uri), min_size_px=_MIN_DECODE_PX).image
    except (DecodeError, StorageError):
        return None
    image.thumbnail((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
