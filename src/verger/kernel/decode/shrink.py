"""Smaller JPEG copies of photos: a network's input needs about a sixth of the bytes of a 12-megapixel photo.

The copies have quality 92 and colours at full resolution (4:4:4). Half resolution (4:2:0) would save a quarter of
the bytes, but would change MobileNetV2's vectors more: the lowest cosine between the vectors of copy and photo
would be 0.9994 instead of 0.9999 (measured on the 12-megapixel mosaics of benchmarks/camera.py, 1,024 pixels wide).
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from verger.kernel.decode import Decoded, decode_image

QUALITY = 92

# Pillow first averages blocks of pixels, down to this multiple of the new size. This makes resizing 2.5 times as
# fast, and equally exact.
_REDUCING_GAP = 1.5


def shrink_photo(data: bytes, max_side_px: int, decode: Callable[[bytes], Decoded] = decode_image) -> bytes:
    """Return a JPEG copy whose longer side has `max_side_px` pixels; `data` itself if the photo is not larger.

    The copy is upright RGB without metadata or colour profile; transparent pixels are blended onto white. Raises
    DecodeError if the photo cannot be decoded, even if it is small.
    """
    decoded = decode(data)
    longer = max(decoded.width, decoded.height)
    if longer <= max_side_px:
        return data
    width, height = (max(1, round(side * max_side_px / longer)) for side in (decoded.width, decoded.height))
    small = decoded.image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    small.info = {}  # otherwise Pillow would write the photo's comment
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, subsampling="4:4:4", optimize=True)
    return file.getvalue()
