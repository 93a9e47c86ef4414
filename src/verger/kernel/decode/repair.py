"""Repair photos whose damage is outside their pixels, and which other programs can show.

A photo is repaired only if it cannot be decoded as it is, so this module cannot change the pixels of other photos.
A repaired photo has all its pixels: a file that lacks some of its pixels stays rejected. docs/photos.md lists the
damage that is repaired.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

from PIL.PngImagePlugin import PngImageFile

from verger.errors import DecodeError
from verger.kernel.decode.limits import END_MARKER, START_OF_SCAN, jpeg_segments

_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_N_COEFFICIENTS = 64
# The application segments that Pillow reads (JFIF, ICC, Adobe), with their minimum lengths.
_READ_SEGMENTS = {0xE0: 16, 0xE2: 16, 0xEE: 14}

# A scan may end with a few zeros, for example if its last blocks have the same colours as the blocks before them.
_MAX_ZEROS = 4

# Bytes that are appended to a JPEG to find out whether its last scan is complete. If the scan is complete, they do
# not change the pixels. If the scan lacks data, the decoder uses these bytes instead, as data or as the restart
# marker that it expects. Each bit of the second tail is the opposite of the same bit of the first.
_NOISE = bytes(1 + byte % 254 for byte in hashlib.shake_128(b"").digest(256))
_TAILS = (
    _NOISE,
    bytes(255 - byte for byte in _NOISE),
    b"".join(bytes([0xFF, marker]) + _NOISE for marker in range(0xD0, 0xD8)),
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The chunks that are not needed for decoding, but change pixels or contain the orientation.
_USED_CHUNKS = (b"tRNS", b"eXIf", b"iTXt", b"tEXt", b"zTXt")
# Maximum number of chunks of each kind. Pillow accepts texts of up to 1 MB each, and up to 64 MB in total.
_MAX_CHUNKS = 20


def repair(data: bytes, kind: str, read: Callable[[bytes], bytes]) -> bytes | None:
    """Return the file without the damage outside its pixels; None if there is no such damage.

    data: a file that could not be decoded. read: returns the pixels of such a file; raises DecodeError.
    """
    repaired = drop_broken_metadata(data, kind)
    if kind == "JPEG" and (complete := _add_end_marker(repaired, read)) is not None:
        return complete
    return None if repaired == data else repaired


def drop_broken_metadata(data: bytes, kind: str) -> bytes:
    """Return a JPEG or PNG without broken parts that decoding does not need; all other files unchanged."""
    if kind == "JPEG":
        return _drop_short_segments(data)
    if kind == "PNG":
        repaired = _drop_broken_chunks(data)
        return repaired if _has_pixels(repaired) else data
    return data


def _add_end_marker(data: bytes, read: Callable[[bytes], bytes]) -> bytes | None:
    """Return a JPEG with an end marker if only this is missing, otherwise None.

    Many zeros at the end are not part of the picture: they fill up a file whose copying was interrupted.
    """
    content = data.rstrip(b"\0")
    if len(data) - len(content) <= _MAX_ZEROS:
        content = data.rstrip(b"\xff")  # half of an end marker
    elif content.endswith(b"\xff"):  # a byte of a scan is written as \xff\0
        content += b"\0"
    return content + END_MARKER if _is_complete(content, read) else None


def _is_complete(data: bytes, read: Callable[[bytes], bytes]) -> bool:
    """Return whether a JPEG without end marker has all its pixels: data that are appended must not change them."""
    if not _has_all_scans(data):
        return False
    with suppress(DecodeError):
        expected = _hash(read(data + END_MARKER))
        return all(_hash(read(data + tail + END_MARKER)) == expected for tail in _TAILS)
    return False


def _drop_short_segments(data: bytes) -> bytes:
    """Return a JPEG without JFIF, ICC and Adobe segments that are too short; JPEG decoders ignore such segments."""
    parts, start = [], 0
    for marker, at in jpeg_segments(data):
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in _READ_SEGMENTS and 2 <= length < _READ_SEGMENTS[marker]:
            parts.append(data[start : at - 2])
            start = at + length
    return b"".join([*parts, data[start:]])


def _hash(pixels: bytes) -> bytes:
    return hashlib.sha256(pixels).digest()  # two large pictures need not be in memory at the same time


def _has_all_scans(data: bytes) -> bool:
    """Return whether a JPEG has all its scans.

    According to their headers, all scans together must contain every coefficient of every colour, down to the last
    bit.
    """
    missing: dict[int, set[int]] = {}
    is_progressive = False
    for marker, at in jpeg_segments(data):
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        if marker in _START_OF_FRAME and len(body) > 6:
            is_progressive = marker in _PROGRESSIVE
            missing = {colour: set(range(_N_COEFFICIENTS)) for colour in body[6::3]}
        elif marker == START_OF_SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            if not is_progressive:
                first, last, bits = 0, _N_COEFFICIENTS - 1, 0
            if not bits & 0x0F:  # the last bit of these coefficients
                for colour in body[1 : 1 + 2 * body[0] : 2]:
                    missing.get(colour, set()).difference_update(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _drop_broken_chunks(data: bytes) -> bytes:
    """Return a PNG without its animation, and without the broken chunks that are not needed for decoding.

    A chunk is broken if its checksum is wrong or Pillow does not accept the chunk, for example because it unpacks
    to too many bytes. Used chunks after the pixels get a new checksum, because Pillow does not check theirs.
    Returns `data` itself if there is nothing to drop.
    """
    parts = [_SIGNATURE]
    n_used = Counter[bytes]()
    is_behind = has_dropped = False
    for chunk in png_chunks(data):
        kind = chunk[4:8]
        is_behind |= kind == b"IDAT"
        sound = build_png_chunk(kind, chunk[8:-4]) if is_behind and kind in _USED_CHUNKS else chunk
        n_used[kind] += 1
        if kind[:1].isupper():
            parts.append(chunk)
        elif kind in _USED_CHUNKS and n_used[kind] <= _MAX_CHUNKS and _is_accepted(sound, data):
            parts.append(sound)
        else:
            has_dropped |= kind.isalpha()  # otherwise these are not chunks but other bytes
    return b"".join(parts) if has_dropped else data


def _has_pixels(data: bytes) -> bool:
    return any(chunk[4:8] == b"IDAT" for chunk in png_chunks(data))


def _is_accepted(chunk: bytes, data: bytes) -> bool:
    """Return whether Pillow opens a PNG of one pixel with this chunk, and with the pixel format of `data`."""
    header = build_png_chunk(b"IHDR", (1).to_bytes(4) * 2 + data[24:29])
    try:
        PngImageFile(io.BytesIO(_SIGNATURE + header + chunk + build_png_chunk(b"IDAT", b"")))
    except Exception:  # as in decode_image: any class
        return False
    return True


def png_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a PNG, up to its end."""
    at, kind = len(_SIGNATURE), b""
    while at + 8 <= len(data) and kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        yield data[at:end]
        at = end


def build_png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)
