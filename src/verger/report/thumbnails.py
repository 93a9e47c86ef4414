"""Small pictures of photos, as data URIs that travel inside the page."""

from __future__ import annotations

import base64
import io
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from verger.content import read_photo
from verger.decode import decode_image
from verger.errors import DecodeError, StorageError
from verger.objects import object_path
from verger.uri import to_local

SIZE_PX = 64
QUALITY = 60
# A gigabyte of camera photos takes half a minute of one core to decode; more would hold up the run.
BUDGET_BYTES = 1 << 30

_AT_A_TIME = 8


def make_thumbnails(paths: Sequence[str], *, budget_bytes: int = BUDGET_BYTES) -> list[str | None]:
    """Return one WebP data URI a path, None where the photo is gone or no image.

    Photos are read in the order given until `budget_bytes` are spent: the same photos at every call.
    """
    # Pillow lets go of the interpreter while it decodes, and stores answer many at a time.
    with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
        within: list[str | None] = []
        for path, n_bytes in zip(paths, pool.map(_size, paths), strict=True):
            is_affordable = n_bytes is not None and n_bytes <= budget_bytes
            within.append(path if is_affordable else None)
            budget_bytes -= n_bytes if n_bytes is not None and is_affordable else 0
        return list(pool.map(_make_thumbnail, within))


def _size(uri: str) -> int | None:
    try:
        if (remote := object_path(uri)) is not None:
            return remote.size()
        status = os.stat(to_local(uri))
    except (OSError, ValueError, StorageError):  # ValueError: a zero byte in the name
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None  # a pipe would never end


def _make_thumbnail(uri: str | None) -> str | None:
    if uri is None:
        return None
    try:
        image = decode_image(read_photo(uri)).image
    except (DecodeError, StorageError):
        return None
    image.thumbnail((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
