"""Limits on the size of photos and on the work of decoding them: a small file can declare a huge picture."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from verger.errors import DecodeError, Reason

DEFAULT_MAX_PIXELS = 50_000_000

# Uncompressed pixels have up to four channels of 16 bits. Metadata and small previews take more bytes.
_BYTES_A_PIXEL = 8
_MORE_BYTES = 100_000_000

# Any side may have this length, the maximum of JPEG. A longer side may have at most _MAX_RATIO times the other
# side. Resizing a picture of 1 x 49,000,000 pixels would take 44 GB of memory.
_FREE_SIDE_PX = 65_535
_MAX_RATIO = 100

# JPEG markers that begin a segment with a length. The others are stuffed bytes, fill bytes, restarts and TEM.
_JPEG_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
START_OF_SCAN = 0xDA
END_MARKER = b"\xff\xd9"

# Cameras and encoders write about 10 scans. A file of 0.4 MB can have 2,000 scans; decoding them takes a minute at
# 50 megapixels.
_MAX_SCANS = 100
# The box with the size of an AVIF's or HEIC's item: type, version and flags, width, height. Encoders pad pictures
# to a multiple of 64 pixels.
_ITEM_SIZE = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.DOTALL)
_PADDING_PX = 63
# A TIFF may store its channels as up to six separate planes. Each plane covers the picture once.
_MAX_COVERS = 6


def megapixels(n_pixels: int) -> str:
    """Return a number of pixels as text, such as "50 megapixels"."""
    return f"{n_pixels / 1e6:g} megapixels"


def max_file_bytes(max_pixels: int = DEFAULT_MAX_PIXELS) -> int:
    """Return the size of the largest file that is read: 500 MB, or more if `max_pixels` is above the default."""
    return _BYTES_A_PIXEL * max(max_pixels, DEFAULT_MAX_PIXELS) + _MORE_BYTES


def check_file_size(n_bytes: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raise DecodeError if a file has too many bytes for a photo of `max_pixels`."""
    limit = max_file_bytes(max_pixels)
    if n_bytes > limit:
        raise DecodeError(
            Reason.TOO_LARGE, f"{n_bytes / 1e6:,.0f} MB is over the limit of {limit / 1e6:,.0f} MB for a file"
        )


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise DecodeError if width x height exceeds `max_pixels`, or if one side is far longer than the other."""
    width, height = size
    if width * height > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"{width} x {height} is over the limit of {megapixels(max_pixels)}"
        )
    if max(size) > max(_FREE_SIDE_PX, _MAX_RATIO * min(size)):
        raise DecodeError(
            Reason.TOO_MANY_PIXELS,
            f"{width} x {height}: a side over {_FREE_SIDE_PX:,} pixels may be at most {_MAX_RATIO} times the other",
        )


def webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from a WebP's header (RFC 9649). Pillow's reader would first allocate the memory."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def check_items(data: bytes, max_pixels: int) -> None:
    """Raise DecodeError if an AVIF or HEIC declares an item with too many pixels; see ISO/IEC 23008-12.

    An item may be larger than the picture, which is cut out of the item. Without this check the reader would report
    a huge item as damage.
    """
    metadata = (data[start:end] for kind, start, end in iso_boxes(data) if kind == b"meta")
    for found in _ITEM_SIZE.finditer(next(metadata, b"")):
        width, height = int.from_bytes(found[1]), int.from_bytes(found[2])
        if max(0, width - _PADDING_PX) * max(0, height - _PADDING_PX) > max_pixels:
            check_size((width, height), max_pixels)


def iso_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each top-level box of an AVIF or HEIC; `end` may be after the end of the file."""
    at = 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16])
        end = len(data) if length == 0 else at + max(8, length)
        yield kind, at, end
        at = end


def check_tiles(image: TiffImageFile, max_pixels: int) -> None:
    """Raise DecodeError if a TIFF's tiles are too large, or if its strips or tiles cover the picture too often.

    A tile is decoded as a whole, even if the picture is smaller. A strip is decoded as often as it is listed.
    """
    width, height = (image.tag_v2.get(tag, 0) for tag in (TILEWIDTH, TILELENGTH))
    if not isinstance(width, int) or not isinstance(height, int):
        raise DecodeError(Reason.CORRUPT, f"tiles of {width!r:.20} x {height!r:.20}")
    if width * height > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"tiles of {width} x {height} are over the limit of {megapixels(max_pixels)}"
        )
    boxes = (tile.extents for tile in image.tile if tile.extents)
    n_pixels = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if n_pixels > _MAX_COVERS * image.width * image.height:
        raise DecodeError(
            Reason.CORRUPT, f"{len(image.tile)} strips or tiles cover the picture over {_MAX_COVERS} times"
        )


def check_scans(data: bytes) -> None:
    """Raise DecodeError if a progressive JPEG has too many scans.

    A scan of ten bytes can make the decoder go over all pixels, so a small file with many scans could take a minute
    to decode.
    """
    n_scans = sum(marker == START_OF_SCAN for marker, _ in jpeg_segments(data))
    if n_scans > _MAX_SCANS:
        raise DecodeError(Reason.UNSUPPORTED, f"{n_scans} progressive scans are over the limit of {_MAX_SCANS}")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, position after it) for each segment of a JPEG's first picture, including the end marker."""
    at = 2
    while marker := _JPEG_SEGMENT.search(data, at):
        yield marker[1][0], marker.end()
        if marker[1][0] == END_MARKER[1]:
            return
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def check_end_marker(data: bytes) -> None:
    """Raise OSError if a JPEG has no end marker: its decoder would use any bytes at the end as data of the picture.

    For example, a file whose copying was interrupted may be filled up with zeros.
    """
    if data.endswith(END_MARKER):
        return
    scan = next((at for marker, at in jpeg_segments(data) if marker == START_OF_SCAN), len(data))
    if data.find(END_MARKER, scan) < 0:
        raise OSError("image file is truncated (no end marker)")
