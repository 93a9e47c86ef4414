"""Smaller copies of photos: a network sees of a photo of 12 megapixels what fits in a sixth of its bytes.

The copies are JPEGs of quality 92 with colours at full resolution (4:4:4): half resolution (4:2:0) would save a
quarter of the bytes, but MobileNetV2's vectors would be farther from those of the photos (lowest cosine 0.9994
instead of 0.9999, on mosaics of 12 megapixels as in benchmarks/camera.py, made 1,024 pixels wide).
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from verger.kernel.decode import Decoded, decode_image

QUALITY = 92

# Pillow first averages whole blocks of pixels, down to so many times the new size: 2.5 times as fast, and as close.
_REDUCING_GAP = 1.5


def shrink_photo(data: bytes, max_side_px: int, decode: Callable[[bytes], Decoded] = decode_image) -> bytes:
    """Return a photo as a JPEG whose longer side has `max_side_px` pixels; `data` itself where it has no more.

    The copy is upright RGB without metadata or colour profile; transparent pixels are blended onto white. Raises
    DecodeError where the photo cannot be decoded, whatever its size.
    """
    decoded = decode(data)
    longer = max(decoded.width, decoded.height)
    if longer <= max_side_px:
        return data
    width, height = (max(1, round(side * max_side_px / longer)) for side in (decoded.width, decoded.height))
    small = decoded.image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    small.info = {}  # Pillow would write the photo's comment
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, subsampling="4:4:4", optimize=True)
    return file.getvalue()
