"""Removal of metadata from photos: time, place, person and camera.

JPEG, PNG, WebP and GIF files are split into their segments or chunks. Only needed kinds, such as colour profiles,
are kept: a list of kinds to remove would miss new kinds that cameras and apps invent. The compressed pixels do not
change. The orientation is written into a new EXIF block. All bytes behind the picture are removed, because phones
store a second picture or a film with sound there. TIFF, BMP, AVIF and HEIC files are decoded, and encoded as PNG,
without loss.

Sources: ITU T.81 and the JFIF, Adobe and MPF conventions; PNG third edition; RFC 9649 (WebP); GIF89a.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator

from PIL.PngImagePlugin import MAX_TEXT_CHUNK

from verger.errors import DecodeError, Reason
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_image, photo_format, read_orientation
from verger.kernel.decode.formats import reader_of
from verger.kernel.decode.repair import build_png_chunk, png_chunks

# Markers that begin a segment; two of them, SOI and EOI, have no length.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_JFIF, _JFIF_BYTES = b"JFIF\0", 12  # length without the thumbnail
# Kept, because other programs use the colour profile, and Adobe's segment defines how CMYK is stored.
_JPEG_KEPT = {0xE0: _JFIF, 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}

# Kept in addition to the critical chunks, whose names begin with a capital letter.
_PNG_KEPT = {
    *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"hIST", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
}
_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"}
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04

_GIF_EXTENSION, _GIF_IMAGE, _GIF_END, _GIF_APPLICATION = 0x21, 0x2C, 0x3B, 0xFF
_GIF_KEPT = {0x01, 0xF9}  # text to draw, and the display options of the next frame
_GIF_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")

# zlib's default level would take three times as long, and make the file only a tenth smaller.
_PNG_LEVEL = 1


def strip_metadata(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return a copy of the photo without metadata and with the same pixels; `data` itself if it has no metadata.

    TIFF, BMP, AVIF and HEIC always become PNG. Raises DecodeError if the file has an unsupported format, is too
    damaged to be split into its parts, or has too many pixels.
    """
    kind = photo_format(data)
    if kind is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, "not a supported image format: its metadata cannot be found")
    if kind not in _FORMATS:
        return _to_png(data, kind, max_pixels)
    split, join = _FORMATS[kind]
    try:
        parts = list(split(data))
    except IndexError as error:
        raise DecodeError(Reason.CORRUPT, f"the {kind} file cannot be split into its parts") from error
    if b"".join(parts) == data:
        return data
    orientation = read_orientation(_as_one_pixel(data) if kind == "PNG" else data, max_pixels=max_pixels)
    stripped = join(data, parts, b"" if orientation is None else _build_exif(orientation))
    return data if stripped == data else stripped


def _to_png(data: bytes, kind: str, max_pixels: int) -> bytes:
    """Return the decoded picture (upright RGB) as a PNG; its colour profile is kept if it is a profile for RGB."""
    picture = decode_image(data, max_pixels=max_pixels).image
    profile = reader_of(kind)(io.BytesIO(data)).info.get("icc_profile")
    # A larger profile is left out, because Pillow cannot read a PNG with such a profile.
    has_profile = isinstance(profile, bytes) and profile[16:20] == b"RGB " and len(profile) < MAX_TEXT_CHUNK
    picture.info = {}  # Pillow would write metadata from this dictionary
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=_PNG_LEVEL, icc_profile=profile if has_profile else None)
    return file.getvalue()


def _build_exif(orientation: int) -> bytes:
    """Return the smallest EXIF block: one directory with the orientation only."""
    return b"MM\0*" + (8).to_bytes(4) + b"\0\1" + b"\1\x12\0\3\0\0\0\1" + orientation.to_bytes(2) + bytes(6)


def _split_jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    at, is_in_scan = 2, False
    while marker := _MARKER.search(data, at):
        kind, start = marker[1][0], marker.start()
        if is_in_scan:
            yield data[at:start]
        at = marker.end()
        if kind not in (_SOI, _EOI):
            at += max(2, int.from_bytes(data[at : at + 2]))
        if kind in _APPLICATION or kind == _COM:
            yield _kept_segment(kind, data[start:at], is_in_scan=is_in_scan)
        else:
            yield data[start:at]
        if kind == _EOI:
            return
        is_in_scan |= kind == _SOS
    if is_in_scan:  # truncated
        yield data[at:]


def _kept_segment(kind: int, segment: bytes, *, is_in_scan: bool) -> bytes:
    """Return the part to keep of an application segment or a comment."""
    if is_in_scan:  # zeros of the same length, because a decoder in a damaged scan uses the length
        return segment[:4] + bytes(max(0, len(segment) - 4))
    if not segment.startswith(_JPEG_KEPT.get(kind, b"none"), 4):
        return b""
    if kind == 0xE0 and len(segment) > 4 + _JFIF_BYTES:
        return segment[:2] + (4 + _JFIF_BYTES).to_bytes(2) + segment[4 : 4 + _JFIF_BYTES] + bytes(2)
    return segment


def _join_jpeg(_: bytes, parts: list[bytes], exif: bytes) -> bytes:
    body = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body if exif else b""
    return b"".join([parts[0], segment, *parts[1:]])


def _split_png(data: bytes) -> Iterator[bytes]:
    if data[12:16] != b"IHDR":  # always the first chunk
        raise DecodeError(Reason.CORRUPT, "the PNG file cannot be split into its parts")
    yield data[:8]
    yield from filter(_is_kept, png_chunks(data))


def _is_kept(chunk: bytes) -> bool:
    kind = chunk[4:8]
    return kind[:1].isupper() or kind in _PNG_KEPT


def _as_one_pixel(data: bytes) -> bytes:
    """Return a PNG with the same metadata and a picture of one pixel, which is faster to decode.

    The order of the chunks does not change, because Pillow reads metadata behind the pixels in another way: it is
    less strict, and ignores metadata behind a second frame. An animation is returned unchanged.
    """
    parts = [data[:8], build_png_chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")]
    has_pixels = False
    for chunk in png_chunks(data):
        kind = chunk[4:8]
        if kind == b"acTL":
            return data
        if kind == b"IDAT" and not has_pixels:
            parts.append(build_png_chunk(b"IDAT", zlib.compress(b"\0\0")))
            has_pixels = True
        if not _is_kept(chunk):
            parts.append(chunk)
    return b"".join([*parts, build_png_chunk(b"IEND", b"")])


def _join_png(_: bytes, parts: list[bytes], exif: bytes) -> bytes:
    # EXIF is written behind the header, because the header must be the first chunk.
    return b"".join([*parts[:2], build_png_chunk(b"eXIf", exif) if exif else b"", *parts[2:]])


def _split_webp(data: bytes) -> Iterator[bytes]:
    yield data[:12]
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        kind, start = data[at : at + 4], at
        at = min(end, at + 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1 & ~1))
        if kind == b"VP8X" and at > start + 8:
            flags = data[start + 8] & ~(_WEBP_HAS_EXIF | _WEBP_HAS_XMP)
            yield data[start : start + 8] + bytes([flags]) + data[start + 9 : at]
        elif kind in _WEBP_KEPT:
            yield data[start:at]


def _join_webp(data: bytes, parts: list[bytes], exif: bytes) -> bytes:
    if exif:  # Pillow read an orientation, so the first chunk is VP8X
        header = bytearray(parts[1])
        header[8] |= _WEBP_HAS_EXIF
        parts = [parts[0], bytes(header), *parts[2:], b"EXIF" + len(exif).to_bytes(4, "little") + exif]
    body = b"".join(parts)
    # A truncated file must stay truncated.
    n_missing = max(0, 8 + int.from_bytes(data[4:8], "little") - len(data))
    return body[:4] + (len(body) - 8 + n_missing).to_bytes(4, "little") + body[8:]


def _split_gif(data: bytes) -> Iterator[bytes]:
    at = 13 + _gif_palette_bytes(data[10])
    yield data[:at]
    while at < len(data):
        kind, start = data[at], at
        if kind == _GIF_END:
            yield data[at : at + 1]
            return
        if kind == _GIF_IMAGE:
            at = _end_of_gif_blocks(data, at + 11 + _gif_palette_bytes(data[at + 9]))
            yield data[start:at]
        elif kind == _GIF_EXTENSION:
            at = _end_of_gif_blocks(data, at + 2)
            is_needed = data.startswith(_GIF_APPLICATIONS, start + 3)
            if data[start + 1] in _GIF_KEPT or (data[start + 1] == _GIF_APPLICATION and is_needed):
                yield data[start:at]
        else:  # an invalid byte, which decoders skip
            at += 1


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_gif_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _join_gif(_: bytes, parts: list[bytes], __: bytes) -> bytes:
    return b"".join(parts)


# Split yields the parts of a file to keep. Join builds a file from these parts and the EXIF block (may be empty).
_Split = Callable[[bytes], Iterator[bytes]]
_Join = Callable[[bytes, list[bytes], bytes], bytes]
_FORMATS: dict[str, tuple[_Split, _Join]] = {
    "JPEG": (_split_jpeg, _join_jpeg),
    "PNG": (_split_png, _join_png),
    "WEBP": (_split_webp, _join_webp),
    "GIF": (_split_gif, _join_gif),
}
