"""Decode image bytes into RGB arrays, as a careful photo library does.

Pillow decodes; this module adds what photos in the wild need: upright by EXIF, alpha onto white, 16-bit
scaled to 8, the first frame of animations, a limit on pixels checked before they are allocated, and one
error that says why. Colour profiles are not applied: the ImageNet networks were trained without.
"""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from verger.errors import DecodeError, Reason

RGB = npt.NDArray[np.uint8]

DEFAULT_MAX_PIXELS = 50_000_000

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM)",
    re.DOTALL,
)

_ORIENTATION_TAG = 0x0112
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")

# decode_image checks every size itself, against a limit the user sets.
Image.MAX_IMAGE_PIXELS = None

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_rgb(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, size_px: tuple[int, int] | None = None) -> RGB:
    image = decode_image(data, max_pixels=max_pixels)
    return np.asarray(image if size_px is None else image.resize(size_px))


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Return the upright RGB Pillow image, or raise DecodeError saying why."""
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has zero bytes")
    found = _FIRST_BYTES.match(data)
    if found is None or found.lastgroup is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, f"starts with {data[:16]!r}")
    try:
        image = _READERS[found.lastgroup](io.BytesIO(data))
        _check_size(image, max_pixels)
        image.load()
        return _to_rgb(_upright(image))
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(_reason_of(error), f"{type(error).__name__}: {error}"[:500]) from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    n_pixels = image.width * image.height
    if n_pixels > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS,
            f"{image.width} x {image.height} is over the limit of {max_pixels / 1e6:g} megapixels",
        )
    if n_pixels == 0:
        raise DecodeError(Reason.CORRUPT, f"the header says {image.width} x {image.height} pixels")


def _reason_of(error: Exception) -> Reason:
    is_cut_off = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return Reason.TRUNCATED if is_cut_off else Reason.CORRUPT


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a broken EXIF block must not cost a good picture
        return image
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT_MODES or image.mode == "I":
        return _from_16_bit(image)
    if image.mode == "F":
        raise DecodeError(Reason.UNSUPPORTED, "floating-point pixels have no agreed white")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise DecodeError(Reason.UNSUPPORTED, "32-bit integer pixels have no agreed white")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
