"""Bytes to an upright RGB picture, or a DecodeError that says why."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from verger.errors import DecodeError, Reason
from verger.kernel.decode.formats import READERS, Reader, photo_format
from verger.kernel.decode.limits import DEFAULT_MAX_PIXELS, check_scans, check_size, check_tiles, mega, webp_size
from verger.kernel.decode.pixels import is_on_its_side, orientation_of, scale_transparency, to_rgb, upright
from verger.kernel.decode.reasons import reason_of

RGB = npt.NDArray[np.uint8]

warnings.filterwarnings("ignore", module=r"PIL\.")

# Pillow returns a picture's memory to the system, 48 MB at 12 megapixels, and getting it again page by page takes a
# fifth of the time of decoding and resizing. Instead 64 MB of a process are kept: 4 of Pillow's blocks of 16 MB.
_KEPT_BLOCKS = 4
if "PILLOW_BLOCKS_MAX" not in os.environ:
    Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]  # documented, but not in its stubs


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture, and the upright size in pixels of the photo it was decoded from.

    The picture is smaller than the photo where it was decoded at a reduced scale.
    """

    image: Image.Image
    width: int
    height: int


def decode_rgb(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, size_px: tuple[int, int] | None = None) -> RGB:
    """Return (height, width, 3) uint8, upright; resized to `size_px` = (width, height) where given.

    Resizing is Pillow's bicubic, as in `PIL.Image.resize`. Raises DecodeError saying why.
    """
    image = decode_image(data, max_pixels=max_pixels).image
    return np.asarray(image if size_px is None else image.resize(size_px, Image.Resampling.BICUBIC))


def decode_image(
    data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_size_px: tuple[int, int] | None = None
) -> Decoded:
    """Return the upright RGB picture of a photo, or raise DecodeError saying why.

    min_size_px: (width, height) that the caller needs. A JPEG is then decoded at the smallest of its own scales
    (1, 1/2, 1/4, 1/8) at which the upright picture has at least this size. A photo with less than twice this width
    or height, and any other format, is decoded as without it. The same photos are rejected for the same reasons.
    """
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has zero bytes")
    found = photo_format(data)
    if found is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, f"starts with {data[:16]!r}")
    reader = READERS[found]
    try:
        return _read(data, reader, max_pixels, min_size_px)
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError(Reason.TOO_MANY_PIXELS, f"over the limit of {mega(max_pixels)}") from error
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "decoding it takes more memory than there is") from error
    # Pillow's plugins raise whatever their parsers stumble on (struct.error, IndexError, SyntaxError, ...).
    except Exception as error:
        raise DecodeError(reason_of(error, data, reader), f"{type(error).__name__}: {error}"[:500]) from error


def read_orientation(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> int | None:
    """Return the orientation, 2 to 8, that `decode_image` turns a photo by; None where it stays as it is.

    Raises DecodeError where there are too many pixels to say. A PNG's pixels are decoded, no others.
    """
    try:
        image = _open(data, READERS[photo_format(data) or ""], max_pixels)
        if isinstance(image, PngImageFile):  # what is behind the pixels overrules what is in front
            image.load()
        return orientation_of(image)
    except DecodeError:
        raise
    except Exception:  # what cannot be decoded has no way up
        return None


def _loosen_pillow(max_pixels: int) -> None:
    """Raise Pillow's own limit to the user's.

    It stays on, since only it is asked before the GIF reader allocates; past it, twice over, they stop.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def _open(data: bytes, reader: Reader, max_pixels: int) -> ImageFile.ImageFile:
    _loosen_pillow(max_pixels)
    if reader is WebPImageFile:
        check_size(webp_size(data), max_pixels)
    image = reader(io.BytesIO(data))
    check_size(image.size, max_pixels)
    return image


def _read(data: bytes, reader: Reader, max_pixels: int, min_size_px: tuple[int, int] | None) -> Decoded:
    image = _open(data, reader, max_pixels)
    if isinstance(image, TiffImageFile):
        check_tiles(image, max_pixels)
    if isinstance(image, JpegImageFile) and "progressive" in image.info:
        check_scans(data)
    width, height = image.size
    if isinstance(image, JpegImageFile) and min_size_px is not None:
        _reduce_scale(image, min_size_px)
    image.load()
    if isinstance(image, PngImageFile) and "transparency" in image.info:
        scale_transparency(image, depth=data[24])
    picture = to_rgb(upright(image))
    if is_on_its_side(image):
        width, height = height, width
    return Decoded(picture, width, height)


def _reduce_scale(image: JpegImageFile, min_size_px: tuple[int, int]) -> None:
    """Let a JPEG that is not loaded yet be decoded at the smallest scale that is `min_size_px` once upright."""
    width, height = min_size_px
    image.draft(None, (height, width) if is_on_its_side(image) else (width, height))
