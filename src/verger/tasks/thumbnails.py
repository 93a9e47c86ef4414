"""The thumbnail task: small pictures of photos, as data URIs that travel inside the report."""

from __future__ import annotations

import base64
import io
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from verger.content import read_photos
from verger.decode import decode_image
from verger.errors import DecodeError, StorageError
from verger.objects import object_path
from verger.tasks.base import Attempt
from verger.uri import to_local

SIZE_PX = 64
QUALITY = 60
# A gigabyte of camera photos takes half a minute of one core to decode; more would hold up the run.
BUDGET_BYTES = 1 << 30
PHOTOS_A_TASK = 128

_AT_A_TIME = 8
# JPEGs are decoded at a reduced scale, but not below this: bilinear resizing then has pixels enough.
_MIN_DECODE_PX = (2 * SIZE_PX, 2 * SIZE_PX)


@dataclass(frozen=True)
class ThumbnailJob:
    """The budget: bytes of photos that are read for `n_photos` thumbnails, shared out evenly among the tasks."""

    n_photos: int
    budget_bytes: int = BUDGET_BYTES


def thumbnails_of(job: ThumbnailJob, paths: Sequence[str], attempt: Attempt) -> list[str | None]:
    """Return one WebP data URI a path, None where the photo is gone, is no image or exceeds the budget.

    Photos are read in the order given until the task's share of the budget is spent. A task whose process
    has died twice makes no thumbnails.
    """
    if attempt.number > 1:
        return [None] * len(paths)
    left_bytes = job.budget_bytes * len(paths) // job.n_photos
    affordable = list[bool]()
    for n_bytes in _sizes(paths):
        affordable.append(n_bytes is not None and n_bytes <= left_bytes)
        left_bytes -= n_bytes if n_bytes is not None and affordable[-1] else 0
    contents = read_photos([path for path, is_read in zip(paths, affordable, strict=True) if is_read])
    return [_thumbnail(next(contents)) if is_read else None for is_read in affordable]


def _sizes(paths: Sequence[str]) -> list[int | None]:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:  # an object store takes its time to answer
        return list(pool.map(_size, paths))


def _size(uri: str) -> int | None:
    try:
        if (remote := object_path(uri)) is not None:
            return remote.size()
        status = os.stat(to_local(uri))
    except (OSError, ValueError, StorageError):  # ValueError: a zero byte in the name
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None  # a pipe would never end


def _thumbnail(content: bytes | DecodeError) -> str | None:
    if isinstance(content, DecodeError):
        return None
    try:
        image = decode_image(content, min_size_px=_MIN_DECODE_PX).image
    except DecodeError:
        return None
    image.thumbnail((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
