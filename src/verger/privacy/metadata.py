"""Take out of a photo's file what tells about people: where, when, by whom and with which camera it was taken.

No pixel is touched: the file is cut at its own seams, and what is not needed to show the picture stays away. What
stays is listed, not what goes, since cameras and apps invent new places; colour profiles are among it. The
orientation is kept, in an EXIF block of its own that says nothing else. What follows the picture goes too: phones
put a second one there, or a film with sound.

Sources: ITU T.81 and the JFIF, Adobe and MPF conventions; PNG third edition; RFC 9649 (WebP); GIF89a; the BMP
headers as Microsoft describes them; TIFF is in `tiff_tags`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from verger.errors import DecodeError, Reason
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_rgb, photo_format, read_orientation
from verger.privacy.tiff import blank_all_but, cut_behind, strip_tiff

# Markers that begin a segment; those without a length are told apart below.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_JFIF, _JFIF_BYTES = b"JFIF\0", 12  # less its thumbnail
# The profile changes no pixel here, but colours elsewhere; Adobe's segment says how CMYK is meant.
_JPEG_KEPT = {0xE0: _JFIF, 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}

# Beside the critical chunks, whose names begin with a capital.
_PNG_KEPT = {
    *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"hIST", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
}
_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"}
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04

_GIF_EXTENSION, _GIF_IMAGE, _GIF_END, _GIF_APPLICATION = 0x21, 0x2C, 0x3B, 0xFF
_GIF_KEPT = {0x01, 0xF9}  # text that is drawn, and how the next frame is shown
_GIF_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")

# Uncompressed, runs of 8 and 4 bits, and with masks; the others are whole JPEGs and PNGs.
_BMP_COMPRESSIONS, _BMP_RUN_LENGTHS = (0, 1, 2, 3), (1, 2)
_BMP_EMBEDDED, _BMP_LINKED, _BMP_SRGB = b"DEBM", b"KNIL", b"BGRs"


def strip_metadata(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return a photo without its metadata: the same pixels, the same way up; `data` itself where there is none.

    Raises DecodeError where the file is of no format that verger reads, too broken to be taken apart, or too large.
    """
    found = photo_format(data)
    if found is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, "not a photo that verger can read: what it holds cannot be told")
    if found in ("TIFF", "BMP"):
        stripped = strip_tiff(data, max_pixels, _blank_jpeg) if found == "TIFF" else _strip_bmp(data)
        _check_pixels(data, stripped, max_pixels)
        return stripped
    try:
        pieces = list(_PIECES[found](data))
    except IndexError as error:
        raise DecodeError(Reason.CORRUPT, f"the {found} file cannot be taken apart") from error
    if b"".join(pieces) == data:
        return data
    orientation = read_orientation(_as_one_pixel(data) if found == "PNG" else data, max_pixels=max_pixels)
    stripped = _PUT_TOGETHER[found](data, pieces, b"" if orientation is None else _exif(orientation))
    return data if stripped == data else stripped


def _check_pixels(data: bytes, stripped: bytes, max_pixels: int) -> None:
    """Raise DecodeError where pixels were lost: these files may have them anywhere."""
    if stripped is data:
        return
    before, after = (decode_rgb(content, max_pixels=max_pixels) for content in (data, stripped))
    if not np.array_equal(before, after):
        raise DecodeError(Reason.CORRUPT, "the metadata cannot be told from the pixels")


def _exif(orientation: int) -> bytes:
    """Return the smallest EXIF block: one directory, with the orientation alone."""
    return b"MM\0*" + (8).to_bytes(4) + b"\0\1" + b"\1\x12\0\3\0\0\0\1" + orientation.to_bytes(2) + bytes(6)


def _jpeg(data: bytes, *, is_in_scan: bool = False) -> Iterator[bytes]:
    yield data[:2]
    at = 2
    while marker := _MARKER.search(data, at):
        kind, start = marker[1][0], marker.start()
        if is_in_scan:
            yield data[at:start]
        at = marker.end()
        if kind not in (_SOI, _EOI):
            at += max(2, int.from_bytes(data[at : at + 2]))
        if kind in _APPLICATION or kind == _COM:
            yield _jpeg_note(kind, data[start:at], is_in_scan=is_in_scan)
        else:
            yield data[start:at]
        if kind == _EOI:
            return
        is_in_scan |= kind == _SOS
    if is_in_scan:  # cut off
        yield data[at:]


def _jpeg_note(kind: int, segment: bytes, *, is_in_scan: bool) -> bytes:
    """Return what is kept of a segment that decoders need not know."""
    if is_in_scan:  # where a decoder loses its way, it goes by the length
        return segment[:4] + bytes(max(0, len(segment) - 4))
    if not segment.startswith(_JPEG_KEPT.get(kind, b"none"), 4):
        return b""
    if kind == 0xE0 and len(segment) > 4 + _JFIF_BYTES:
        return segment[:2] + (4 + _JFIF_BYTES).to_bytes(2) + segment[4 : 4 + _JFIF_BYTES] + bytes(2)
    return segment


def _join_jpeg(_: bytes, pieces: list[bytes], exif: bytes) -> bytes:
    body = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body if exif else b""
    return b"".join([pieces[0], segment, *pieces[1:]])


def _blank_jpeg(data: bytes) -> bytes:
    """Return a JPEG of the same length whose notes say nothing."""
    return b"".join(_jpeg(data, is_in_scan=True)).ljust(len(data), b"\0")


def _png(data: bytes) -> Iterator[bytes]:
    if data[12:16] != b"IHDR":  # which is always the first
        raise DecodeError(Reason.CORRUPT, "the PNG file cannot be taken apart")
    yield data[:8]
    yield from filter(_is_kept, _png_chunks(data))


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at, kind = 8, b""
    while at + 8 <= len(data) and kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        yield data[at:end]
        at = end


def _is_kept(chunk: bytes) -> bool:
    kind = chunk[4:8]
    return kind[:1].isupper() or kind in _PNG_KEPT


def _as_one_pixel(data: bytes) -> bytes:
    """Return what a PNG says beside its picture, with a picture of one pixel, which takes less to decode.

    The order stays: what is behind the pixels is read with less care, and behind a second frame not at all; `data`
    itself is returned of an animation.
    """
    parts = [data[:8], _png_chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")]
    is_behind = False
    for chunk in _png_chunks(data):
        kind = chunk[4:8]
        if kind == b"acTL":
            return data
        if kind == b"IDAT" and not is_behind:
            parts.append(_png_chunk(b"IDAT", zlib.compress(b"\0\0")))
            is_behind = True
        if not _is_kept(chunk):
            parts.append(chunk)
    return b"".join([*parts, _png_chunk(b"IEND", b"")])


def _join_png(_: bytes, pieces: list[bytes], exif: bytes) -> bytes:
    # Behind the header, which must come first.
    return b"".join([*pieces[:2], _png_chunk(b"eXIf", exif) if exif else b"", *pieces[2:]])


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def _webp(data: bytes) -> Iterator[bytes]:
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


def _join_webp(data: bytes, pieces: list[bytes], exif: bytes) -> bytes:
    if exif:  # Pillow found it, and so there is a VP8X chunk: the first
        extended = bytearray(pieces[1])
        extended[8] |= _WEBP_HAS_EXIF
        pieces = [pieces[0], bytes(extended), *pieces[2:], b"EXIF" + len(exif).to_bytes(4, "little") + exif]
    body = b"".join(pieces)
    # A file that ended too early still does.
    missing = max(0, 8 + int.from_bytes(data[4:8], "little") - len(data))
    return body[:4] + (len(body) - 8 + missing).to_bytes(4, "little") + body[8:]


def _gif(data: bytes) -> Iterator[bytes]:
    at = 13 + _gif_colours(data[10])
    yield data[:at]
    while at < len(data):
        kind, start = data[at], at
        if kind == _GIF_END:
            yield data[at : at + 1]
            return
        if kind == _GIF_IMAGE:
            at = _after_gif_blocks(data, at + 11 + _gif_colours(data[at + 9]))
            yield data[start:at]
        elif kind == _GIF_EXTENSION:
            at = _after_gif_blocks(data, at + 2)
            is_known = data.startswith(_GIF_APPLICATIONS, start + 3)
            if data[start + 1] in _GIF_KEPT or (data[start + 1] == _GIF_APPLICATION and is_known):
                yield data[start:at]
        else:  # nothing that belongs there; decoders pass over it
            at += 1


def _gif_colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_gif_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _strip_bmp(data: bytes) -> bytes:
    """Return a bitmap that ends with its pixels, or its colour profile, and does not name one in a file elsewhere.

    Raises DecodeError where what it holds is no pixels.
    """
    header = _little(data, 14, 4)
    ranges = [(0, _end_of_bmp(data, header))]
    kind = data[70:74] if header == 124 else b""
    start = 14 + _little(data, 126, 4)
    end = start + _little(data, 130, 4)
    if kind == _BMP_EMBEDDED:
        ranges.append((start, end))
    changed = blank_all_but(data, ranges)
    if kind == _BMP_LINKED:
        changed[start:end] = bytes(len(changed[start:end]))
        changed[70:74], changed[126:134] = _BMP_SRGB, bytes(8)
    stripped = cut_behind(data, changed, ranges)
    return data if stripped is data else stripped[:2] + len(stripped).to_bytes(4, "little") + stripped[6:]


def _end_of_bmp(data: bytes, header: int) -> int:
    """Return where the pixels end that Pillow reads."""
    is_old = header == 12
    width, height, bits = (
        (_little(data, 18, 2), _little(data, 20, 2), _little(data, 24, 2))
        if is_old
        else (_little(data, 18, 4), abs(_little(data, 22, 4, signed=True)), _little(data, 28, 2))
    )
    compression, told = (0, 0) if is_old else (_little(data, 30, 4), _little(data, 34, 4))
    if compression not in _BMP_COMPRESSIONS:
        raise DecodeError(Reason.UNSUPPORTED, f"a bitmap of compression {compression}")
    n_colours = (0 if is_old else _little(data, 46, 4)) or 1 << min(bits, 8)
    start = _little(data, 10, 4) or 14 + header
    if start == 14 + header and bits <= 8:
        start += n_colours * (3 if is_old else 4)
    return start + (told if compression in _BMP_RUN_LENGTHS else (width * bits + 31) // 32 * 4 * height)


def _little(data: bytes, at: int, n_bytes: int, *, signed: bool = False) -> int:
    return int.from_bytes(data[at : at + n_bytes], "little", signed=signed)


def _join_gif(_: bytes, pieces: list[bytes], __: bytes) -> bytes:
    return b"".join(pieces)


_PIECES: dict[str, Callable[[bytes], Iterator[bytes]]] = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif}
_PUT_TOGETHER: dict[str, Callable[[bytes, list[bytes], bytes], bytes]] = {
    "JPEG": _join_jpeg,
    "PNG": _join_png,
    "WEBP": _join_webp,
    "GIF": _join_gif,
}
