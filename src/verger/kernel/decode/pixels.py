"""Conversion of decoded pictures of any mode to upright RGB with eight bits a channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from verger.errors import DecodeError, Reason
from verger.kernel.decode.tiff import TiffReader

_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_MAX_16_BIT = 0xFFFF
_EIGHT_BIT = ((np.arange(_MAX_16_BIT + 1) + 128) // 257).astype(np.uint8)

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

# Orientations from 5 on swap width and height.
_FIRST_ON_ITS_SIDE = 5


def orientation_of(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 2 to 8; None if the picture is upright already."""
    try:
        orientation: Any = image.getexif().get(_ORIENTATION_TAG)
        return int(orientation) if orientation in _TURNS else None
    except Exception:  # a broken EXIF block must not make a good picture fail
        return None


def swaps_width_and_height(image: Image.Image) -> bool:
    """Return whether turning a picture upright swaps its width and height."""
    return (orientation_of(image) or 1) >= _FIRST_ON_ITS_SIDE


def turn_upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """Return the picture turned upright by an EXIF orientation."""
    return image if orientation is None else image.transpose(_TURNS[orientation])


def scale_transparency(image: PngImageFile, depth: int) -> None:
    """Scale a PNG's transparent colour from the depth of the file to eight bits, the depth of Pillow's pixels."""
    clear = image.info["transparency"]
    if depth == 16 and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif depth < 8 and isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * 255 // ((1 << depth) - 1)


def correct_levels(image: ImageFile) -> Image.Image:
    """Return a loaded picture without a meaningless alpha channel, and with 65,535 as white if it has 16 bits.

    Some programs write zeros into the fourth byte of each pixel of a BMP or TIFF, but do not mean transparency.
    """
    is_declared = not isinstance(image, BmpImageFile | TiffReader) or getattr(image, "has_declared_alpha", False)
    if image.mode == "RGBA" and not is_declared and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    if (
        not isinstance(image, TiffReader)
        or image.mode not in _SIXTEEN_BIT_MODES
        or (image.black, image.white) == (0, _MAX_16_BIT)
    ):
        return image
    values = np.asarray(image).astype(np.int64)
    scaled = (values - image.black) * _MAX_16_BIT / (image.white - image.black)
    return Image.fromarray(scaled.round().clip(0, _MAX_16_BIT).astype(np.uint16))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as RGB, blended onto white; raises DecodeError for modes without a defined white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT_MODES or image.mode == "I":
        return _from_16_bit(image)
    if image.mode == "F":
        raise DecodeError(Reason.UNSUPPORTED, "floating-point pixels, in which the value of white is not defined")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > _MAX_16_BIT:
        raise DecodeError(Reason.UNSUPPORTED, "32-bit integer pixels, in which the value of white is not defined")
    grey = _EIGHT_BIT[values]
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")
