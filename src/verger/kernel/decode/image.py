"""Decoding one photo: bytes to an upright RGB picture, or a DecodeError with the reason."""

from __future__ import annotations

import io
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from verger.errors import DecodeError, Reason, SetupError
from verger.kernel.decode.formats import Reader, photo_format, reader_of
from verger.kernel.decode.limits import (
    DEFAULT_MAX_PIXELS,
    check_end_marker,
    check_items,
    check_scans,
    check_size,
    check_tiles,
    megapixels,
    webp_size,
)
from verger.kernel.decode.pixels import (
    correct_levels,
    orientation_of,
    scale_transparency,
    swaps_width_and_height,
    to_rgb,
    turn_upright,
)
from verger.kernel.decode.reasons import failure_reason
from verger.kernel.decode.repair import drop_broken_metadata, repair

RGB = npt.NDArray[np.uint8]

warnings.filterwarnings("ignore", module=r"PIL\.")

# By default Pillow returns a picture's memory (48 MB at 12 megapixels) to the system. Allocating the memory again
# takes a fifth of the time of decoding and resizing, so each process keeps 4 of Pillow's blocks of 16 MB.
_KEPT_BLOCKS = 4
if "PILLOW_BLOCKS_MAX" not in os.environ:
    Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]  # documented, but not in Pillow's stubs


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture, and the width and height of the upright photo at full scale, in pixels.

    `image` is smaller than `width` x `height` if the photo was decoded at a reduced scale.
    """

    image: Image.Image
    width: int
    height: int


def decode_rgb(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, size_px: tuple[int, int] | None = None) -> RGB:
    """Decode a photo to an upright (height, width, 3) uint8 array; raises DecodeError.

    Augmentation, fine-tuning and users of the library need an array. Runs use `decode_image`.

    size_px: (width, height) to resize to, with Pillow's bicubic filter; None keeps the size.
    """
    image = decode_image(data, max_pixels=max_pixels).image
    return np.asarray(image if size_px is None else image.resize(size_px, Image.Resampling.BICUBIC))


def decode_image(
    data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_size_px: tuple[int, int] | None = None
) -> Decoded:
    """Decode a photo to an upright RGB picture; raises DecodeError.

    min_size_px: (width, height) that the caller needs. A JPEG is then decoded at the smallest of its scales (1,
    1/2, 1/4, 1/8) at which the upright picture has at least this size. Smaller JPEGs, and other formats, are
    decoded at full scale. The same photos are rejected for the same reasons with any `min_size_px`.
    """
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has zero bytes")
    kind = photo_format(data)
    if kind is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, f"starts with {data[:16]!r}")
    reader = reader_of(kind)
    try:
        return _read_or_explain(data, reader, max_pixels, min_size_px)
    except DecodeError as error:
        if error.reason not in (Reason.CORRUPT, Reason.TRUNCATED):
            raise
        repaired = repair(data, kind, lambda content: _pixels(content, reader, max_pixels))
        if repaired is None:
            raise
    return _read_or_explain(repaired, reader, max_pixels, min_size_px)


def _pixels(data: bytes, reader: Reader, max_pixels: int) -> bytes:
    return _read_or_explain(data, reader, max_pixels, None).image.tobytes()


def _read_or_explain(data: bytes, reader: Reader, max_pixels: int, min_size_px: tuple[int, int] | None) -> Decoded:
    """Decode a photo as it is; raises DecodeError with the reason."""
    try:
        return _read(data, reader, max_pixels, min_size_px)
    except (DecodeError, SetupError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError(Reason.TOO_MANY_PIXELS, f"over the limit of {megapixels(max_pixels)}") from error
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "decoding it takes more memory than there is") from error
    # Pillow's plugins raise errors of any class (struct.error, IndexError, SyntaxError, ...).
    except Exception as error:
        raise DecodeError(failure_reason(error, data, reader), f"{type(error).__name__}: {error}"[:500]) from error


def read_orientation(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> int | None:
    """Return the EXIF orientation, 2 to 8, by which `decode_image` turns a photo; None for an upright photo.

    Raises DecodeError for too many pixels. The pixels of a PNG are decoded, those of other formats are not.
    """
    kind = photo_format(data) or ""
    try:
        return _orientation_in(data, kind, max_pixels)
    except (DecodeError, SetupError):
        raise
    except Exception:  # a file that cannot be decoded has no orientation
        with suppress(Exception):
            return _orientation_in(drop_broken_metadata(data, kind), kind, max_pixels)
        return None


def _orientation_in(data: bytes, kind: str, max_pixels: int) -> int | None:
    image = _open(data, reader_of(kind), max_pixels)
    if isinstance(image, PngImageFile):  # metadata after the pixels overrides metadata before them
        image.load()
    return orientation_of(image)


def _raise_pillow_limit(max_pixels: int) -> None:
    """Increase Pillow's own limit on pixels to `max_pixels`.

    Pillow's limit stays on, because the GIF reader allocates memory before verger's limits can be checked.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def _open(data: bytes, reader: Reader, max_pixels: int) -> ImageFile.ImageFile:
    _raise_pillow_limit(max_pixels)
    if reader is WebPImageFile:
        check_size(webp_size(data), max_pixels)
    elif reader.format in ("AVIF", "HEIF"):
        check_items(data, max_pixels)
    image = reader(io.BytesIO(data))
    check_size(image.size, max_pixels)
    return image


def _read(data: bytes, reader: Reader, max_pixels: int, min_size_px: tuple[int, int] | None) -> Decoded:
    image = _open(data, reader, max_pixels)
    if isinstance(image, TiffImageFile):
        check_tiles(image, max_pixels)
    if isinstance(image, JpegImageFile) and "progressive" in image.info:
        check_scans(data)
    width, height = image.size  # before a JPEG's scale is reduced
    if isinstance(image, JpegImageFile) and min_size_px is not None:
        _reduce_scale(image, min_size_px)
    image.load()
    if isinstance(image, JpegImageFile):
        check_end_marker(data)
    if isinstance(image, PngImageFile) and "transparency" in image.info:
        scale_transparency(image, depth=data[24])
    picture = to_rgb(turn_upright(correct_levels(image), orientation_of(image)))
    if not isinstance(image, JpegImageFile):  # Pillow may turn a TIFF itself when it loads it
        width, height = picture.size
    elif swaps_width_and_height(image):
        width, height = height, width
    return Decoded(picture, width, height)


def _reduce_scale(image: JpegImageFile, min_size_px: tuple[int, int]) -> None:
    """Set the smallest scale at which the upright JPEG has at least `min_size_px`. Call this before `load`."""
    width, height = min_size_px
    image.draft(None, (height, width) if swaps_width_and_height(image) else (width, height))
