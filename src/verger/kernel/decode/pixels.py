"""Any picture as upright RGB of eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from verger.errors import DecodeError, Reason

_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_EIGHT_BIT = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)

_ORIENTATION_TAG = 0x0112
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# From here on orientations swap width and height.
_FIRST_ON_ITS_SIDE = 5


def orientation_of(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 2 to 8; None where there is nothing to turn."""
    try:
        told: Any = image.getexif().get(_ORIENTATION_TAG)
        return int(told) if told in _TURNS else None
    except Exception:  # a broken EXIF block must not cost a good picture
        return None


def is_on_its_side(image: Image.Image) -> bool:
    """Tell whether turning a picture upright swaps its width and height."""
    return (orientation_of(image) or 1) >= _FIRST_ON_ITS_SIDE


def upright(image: Image.Image) -> Image.Image:
    """Turn a picture the way its EXIF says that the camera was held."""
    orientation = orientation_of(image)
    return image if orientation is None else image.transpose(_TURNS[orientation])


def scale_transparency(image: PngImageFile, depth: int) -> None:
    """PNG names its clear colour at the depth of the file; Pillow compares it with 8-bit pixels."""
    clear = image.info["transparency"]
    if depth == 16 and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif depth < 8 and isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * 255 // ((1 << depth) - 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return eight bits a channel, alpha onto white; raises DecodeError where pixels have no agreed white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT_MODES or image.mode == "I":
        return _from_16_bit(image)
    if image.mode == "F":
        raise DecodeError(Reason.UNSUPPORTED, "floating-point pixels have no agreed white")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise DecodeError(Reason.UNSUPPORTED, "32-bit integer pixels have no agreed white")
    grey = _EIGHT_BIT[values]
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")
