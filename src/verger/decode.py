"""Decode image bytes into RGB arrays, as a careful photo library does.

Pillow decodes; this module adds what photos in the wild need: upright by EXIF, alpha onto white, 16-bit
scaled to 8, the first frame of animations, a limit on pixels checked before they are allocated, limits on
what a small file can make the decoder do, and one error that says why. Colour profiles are not applied:
the ImageNet networks were trained without.

Importing it silences the warnings of Pillow's own modules: a photo either decodes or is a DecodeError.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import (
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
    TiffImageFile,
)
from PIL.WebPImagePlugin import WebPImageFile

from verger.errors import DecodeError, Reason, StorageError
from verger.objects import object_path
from verger.uri import is_local, to_local

RGB = npt.NDArray[np.uint8]
Reader = type[ImageFile.ImageFile]
Content = bytes | DecodeError

DEFAULT_MAX_PIXELS = 50_000_000

# Photos asked of an object store at a time: an answer takes ten times as long as a photo's features.
_AHEAD = 16


class _JpegFile(JpegImageFile):
    """Looks for no resolution in EXIF: nobody asks for it, and where it is broken the picture is lost."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Only what a camera or an app writes: formats that run other programs (EPS) stay shut. MPO is JPEG with more
# pictures behind the first. Called directly, as Image.open forgets why a reader refused the file.
_READERS: dict[str, Reader] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
# "BM" alone begins too many words: the size of the header after it tells a bitmap.
_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)",
    re.DOTALL,
)
# JPEG markers that begin a segment: all but stuffed and fill bytes, restarts and TEM, which have no length.
_JPEG_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")

# Cameras and encoders write about 10; 2,000 fit in 0.4 MB and take a minute at 50 megapixels.
_MAX_SCANS = 100
# Separate planes cover a TIFF once each, six at most.
_MAX_COVERS = 6

_UNSUPPORTED = ("cannot handle", "unknown pixel mode", "unsupported")
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

warnings.filterwarnings("ignore", module=r"PIL\.")


def read_photo(uri: str) -> bytes:
    """Return the bytes of a file or object, or raise DecodeError saying why they cannot be had.

    A store that fails, and not the photo, is a StorageError: asked again later it may well have it.
    """
    try:
        remote = object_path(uri)
        if remote is not None:
            return remote.read_bytes()
        if not is_local(uri):
            raise ValueError("neither a file nor in a store that verger knows")
        with open(to_local(uri), "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise DecodeError(Reason.UNREADABLE, f"{type(error).__name__}: {words}"[:500]) from error
    except StorageError as error:
        if not error.is_refusal:
            raise
        raise DecodeError(Reason.UNREADABLE, str(error)) from error


def read_photos(uris: Sequence[str | None]) -> Iterator[Content]:
    """Yield the bytes of each photo, or why they cannot be had, in order.

    Of an object store some are asked for ahead, since it takes its time to answer.
    """
    if all(uri is None or is_local(uri) for uri in uris):
        yield from map(_read_or_say, uris)
        return
    reading: deque[Future[Content]] = deque()
    for uri in uris:
        reading.append(_readers().submit(_read_or_say, uri))
        if len(reading) >= _AHEAD:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


@functools.cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AHEAD, thread_name_prefix="verger-read")


def _read_or_say(uri: str | None) -> Content:
    try:
        if uri is None:
            raise DecodeError(Reason.UNREADABLE, "the path is null")
        return read_photo(uri)
    except DecodeError as error:
        return error


def decode_rgb(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, size_px: tuple[int, int] | None = None) -> RGB:
    """Return (height, width, 3) uint8, upright; resized to `size_px` = (width, height) where given.

    Resizing is Pillow's bicubic, as in `PIL.Image.resize`. Raises DecodeError saying why.
    """
    image = decode_image(data, max_pixels=max_pixels)
    return np.asarray(image if size_px is None else image.resize(size_px, Image.Resampling.BICUBIC))


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Return the upright RGB Pillow image, or raise DecodeError saying why."""
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has zero bytes")
    found = photo_format(data)
    if found is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, f"starts with {data[:16]!r}")
    reader = _READERS[found]
    try:
        return _read(data, reader, max_pixels)
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError(Reason.TOO_MANY_PIXELS, f"over the limit of {_mega(max_pixels)}") from error
    # Pillow's plugins raise whatever their parsers stumble on (struct.error, IndexError, SyntaxError, ...).
    except Exception as error:
        raise DecodeError(_reason_of(error, data, reader), f"{type(error).__name__}: {error}"[:500]) from error


def photo_format(data: bytes) -> str | None:
    """Return JPEG, PNG, WEBP, GIF, TIFF or BMP by the first bytes, None for anything else."""
    found = _FIRST_BYTES.match(data)
    return None if found is None else found.lastgroup


def read_orientation(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> int | None:
    """Return the orientation, 2 to 8, that `decode_image` turns a photo by; None where it stays as it is.

    Raises DecodeError where there are too many pixels to say. A PNG's pixels are decoded, no others.
    """
    try:
        image = _open(data, _READERS[photo_format(data) or ""], max_pixels)
        if isinstance(image, PngImageFile):  # what is behind the pixels overrules what is in front
            image.load()
        return _orientation(image)
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
        _check_size(_webp_size(data), max_pixels)
    image = reader(io.BytesIO(data))
    _check_size(image.size, max_pixels)
    return image


def _read(data: bytes, reader: Reader, max_pixels: int) -> Image.Image:
    image = _open(data, reader, max_pixels)
    if isinstance(image, TiffImageFile):
        _check_tiles(image, max_pixels)
    if isinstance(image, JpegImageFile) and "progressive" in image.info:
        _check_scans(data)
    image.load()
    if isinstance(image, PngImageFile) and "transparency" in image.info:
        _scale_transparency(image, depth=data[24])
    return _to_rgb(_upright(image))


def _mega(n_pixels: int) -> str:
    return f"{n_pixels / 1e6:g} megapixels"


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise DecodeError(Reason.TOO_MANY_PIXELS, f"{width} x {height} is over the limit of {_mega(max_pixels)}")


def _webp_size(data: bytes) -> tuple[int, int]:
    """The size that a WebP claims (RFC 9649): its reader allocates the canvas before it can be asked."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _check_tiles(image: TiffImageFile, max_pixels: int) -> None:
    """Tiles are decoded whole however small the picture, and strips as often as they are listed."""
    width, height = (image.tag_v2.get(tag, 0) for tag in (TILEWIDTH, TILELENGTH))
    if not isinstance(width, int) or not isinstance(height, int):
        raise DecodeError(Reason.CORRUPT, f"tiles of {width!r:.20} x {height!r:.20}")
    if width * height > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"tiles of {width} x {height} are over the limit of {_mega(max_pixels)}"
        )
    boxes = (tile.extents for tile in image.tile if tile.extents)
    n_pixels = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if n_pixels > _MAX_COVERS * image.width * image.height:
        raise DecodeError(Reason.CORRUPT, f"{len(image.tile)} strips or tiles cover the picture repeatedly")


def _check_scans(data: bytes) -> None:
    """Every scan of a progressive JPEG goes over all its pixels, and an empty one takes ten bytes."""
    n_scans, at = 0, 2
    while (marker := _JPEG_SEGMENT.search(data, at)) and marker[1] != b"\xd9":
        n_scans += marker[1] == b"\xda"
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    if n_scans > _MAX_SCANS:
        raise DecodeError(Reason.UNSUPPORTED, f"{n_scans} progressive scans, {_MAX_SCANS} at most")


def _reason_of(error: Exception, data: bytes, reader: Reader) -> Reason:
    message = str(error).lower()
    if any(phrase in message for phrase in _UNSUPPORTED):
        return Reason.UNSUPPORTED
    is_cut_off = (isinstance(error, OSError) and "truncated" in message) or _is_cut_off(data, reader)
    return Reason.TRUNCATED if is_cut_off else Reason.CORRUPT


class _WatchedBytes(io.BytesIO):
    """Bytes that remember whether a reader asked for more than there were."""

    ran_out = False

    def read(self, size: int | None = -1, /) -> bytes:
        given = super().read(size)
        self.ran_out |= size is not None and len(given) < size
        return given


def _is_cut_off(data: bytes, reader: Reader) -> bool:
    """Tell whether a photo that failed ends too early: most readers do not say, so read again and watch."""
    if reader is WebPImageFile:  # reads all at once, but the second word is the length of what follows
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    source = _WatchedBytes(data)
    with contextlib.suppress(Exception):
        image = reader(source)
        if isinstance(image, PngImageFile):
            image.load()
        if isinstance(image, TiffImageFile):  # libtiff gets all at once, but tags say where strips end
            tags = image.tag_v2
            starts = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
            lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
            source.ran_out |= any(sum(strip) > len(data) for strip in zip(starts, lengths, strict=False))
    return source.ran_out


def _orientation(image: Image.Image) -> int | None:
    try:
        told: Any = image.getexif().get(_ORIENTATION_TAG)
        return int(told) if told in _TURNS else None
    except Exception:  # a broken EXIF block must not cost a good picture
        return None


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image if orientation is None else image.transpose(_TURNS[orientation])


def _scale_transparency(image: PngImageFile, depth: int) -> None:
    """PNG names its clear colour at the depth of the file; Pillow compares it with 8-bit pixels."""
    clear = image.info["transparency"]
    if depth == 16 and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif depth < 8 and isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * 255 // ((1 << depth) - 1)


def _to_rgb(image: Image.Image) -> Image.Image:
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
