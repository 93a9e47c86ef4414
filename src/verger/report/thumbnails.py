"""Small pictures of photos, as data URIs that travel inside the page."""

from __future__ import annotations

import base64
import io
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from verger.decode import decode_image
from verger.errors import DecodeError
from verger.uri import is_local, to_local

SIZE_PX = 64
QUALITY = 60
# A gigabyte of camera photos takes half a minute of one core to decode; more would hold up the run.
BUDGET_BYTES = 1 << 30


def make_thumbnails(paths: Sequence[str], *, budget_bytes: int = BUDGET_BYTES) -> list[str | None]:
    """Return one WebP data URI a path, None where the photo is not local, gone or no image.

    Photos are read in the order given until `budget_bytes` are spent: the same photos at every call.
    """
    within: list[Path | None] = []
    for path in paths:
        local = Path(to_local(path)) if is_local(path) else None
        n_bytes = None if local is None else _regular_size(local)
        is_affordable = n_bytes is not None and n_bytes <= budget_bytes
        within.append(local if is_affordable else None)
        budget_bytes -= n_bytes if n_bytes is not None and is_affordable else 0
    # Pillow lets go of the interpreter while it decodes.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_make_thumbnail, within))


def _regular_size(path: Path) -> int | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None  # a pipe would never end


def _make_thumbnail(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        image = decode_image(path.read_bytes())
    except (OSError, DecodeError):
        return None
    image.thumbnail((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
