"""Images for tests: valid ones, ones with false headers, decompression bombs, thousands of broken ones.

Needs no pytest, so that other processes and benchmarks can use it.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from verger.photo_names import HAS_HEIC

HEIC = Path(__file__).parent / "heic"
REAL = Path(__file__).parents[3] / "shared" / "data"
WHY_NO_REAL = f"no real photos: {REAL} is absent"

EXIF_TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def paint(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth RGB picture without symmetry, the same for the same seed."""
    shades = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(shades).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


# Formats built by hand, for what Pillow's own writers refuse to write.


def build_png(
    size: tuple[int, int], depth: int, colour: int, rows: bytes, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of unfiltered `rows` (each begins with a zero), with chunks before and after its pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    body = before + png_chunk(b"IDAT", zlib.compress(rows)) + after
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def build_gif(screen: tuple[int, int], frame: tuple[int, int], *, disposal: int) -> bytes:
    """A GIF of one frame whose few bytes claim any size; disposal 2 makes readers clear the frame first."""
    control = b"!\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6) + control + descriptor + b"\2\2D\1\0;"


def build_bmp(
    header_size: int, compression: int, pixels: list[tuple[int, int, int, int]], masks: bytes = b""
) -> bytes:
    """A bitmap of one row of 32-bit pixels, (blue, green, red, fourth byte)."""
    fields = struct.pack("<IiiHHIIiiII", header_size, len(pixels), 1, 1, 32, compression, 0, 0, 0, 0, 0)
    header = (fields + masks).ljust(max(header_size, len(fields + masks)), b"\0")
    body = b"".join(map(bytes, pixels))
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


Tags = dict[int, int | list[int]]


def build_tiff(tags: Tags, pixels: bytes) -> bytes:
    """A little-endian TIFF of LONG tags with `pixels` at its end; -1 - n stands for where their byte n is."""
    at_values = 8 + 2 + 12 * len(tags) + 4
    at_pixels = at_values + sum(4 * len(value) for value in tags.values() if isinstance(value, list))
    entries, values = b"", b""
    for tag, value in sorted(tags.items()):
        many = value if isinstance(value, list) else [value]
        longs = struct.pack(f"<{len(many)}I", *(long if long >= 0 else at_pixels - 1 - long for long in many))
        place = struct.pack("<I", at_values + len(values)) if isinstance(value, list) else longs
        entries += struct.pack("<HHI", tag, 4, len(many)) + place
        values += longs if isinstance(value, list) else b""
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values + pixels


def build_grey_tiff(size: tuple[int, int], pixels: bytes, tags: Tags) -> bytes:
    """An uncompressed 8-bit TIFF, unless `tags` say otherwise."""
    basic: Tags = {256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 277: 1}
    return build_tiff(basic | tags, pixels)


def repeat_last_scan(progressive: bytes, n: int) -> bytes:
    """A progressive JPEG whose last scan is repeated `n` times."""
    start = progressive.rindex(b"\xff\xda")
    return progressive[:-2] + progressive[start:-2] * n + b"\xff\xd9"


def claim_size(data: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    claim = {b"\xff\xd8": _claim_in_jpeg, b"\x89P": _claim_in_png, b"RI": _claim_in_webp, b"GI": _claim_in_gif}
    claim |= {b"BM": _claim_in_bmp, b"II": _claim_in_tiff, b"\0\0": _claim_in_boxes}
    broken = bytearray(data)
    if data[:2] in claim:
        claim[data[:2]](broken, width, height)
    return bytes(broken)


def _claim_in_jpeg(data: bytearray, width: int, height: int) -> None:
    at = next(at for at in _jpeg_segments(data) if data[at + 1] in (0xC0, 0xC2))
    struct.pack_into(">HH", data, at + 5, height, width)


def _claim_in_png(data: bytearray, width: int, height: int) -> None:
    struct.pack_into(">II", data, 16, width, height)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))


def _claim_in_webp(data: bytearray, width: int, height: int) -> None:
    start, body = _webp_size(bytes(data[12:16]), width, height)
    data[start : start + len(body)] = body


def _claim_in_gif(data: bytearray, width: int, height: int) -> None:
    struct.pack_into("<HH", data, 6, width, height)


def _claim_in_bmp(data: bytearray, width: int, height: int) -> None:
    struct.pack_into("<II", data, 18, width, height)


def _claim_in_tiff(data: bytearray, width: int, height: int) -> None:
    for at in _tiff_entries(data):
        tag = struct.unpack_from("<H", data, at)[0]
        if tag in (256, 257):
            struct.pack_into("<HII", data, at + 2, 4, 1, width if tag == 256 else height)


def _claim_in_boxes(data: bytearray, width: int, height: int) -> None:
    for found in re.finditer(b"ispe", bytes(data)):
        if found.end() + 12 <= len(data):
            struct.pack_into(">II", data, found.end() + 4, width, height)


def _webp_size(chunk: bytes, width: int, height: int) -> tuple[int, bytes]:
    """Position and form of the size in each kind of WebP: 14 bits per side, 24 in the extended kind."""
    if chunk == b"VP8X":
        return 24, (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    if chunk == b"VP8L":
        return 21, struct.pack("<I", (width - 1) & 0x3FFF | ((height - 1) & 0x3FFF) << 14)
    return 26, struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)


# Hostile photos.

_MAGIC = {
    "jpg": (b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xc0\0\x11\x08\0\x64\0\x64\3"),
    "png": (b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x64\x08"),
    "webp": (b"RIFF\xff\xff\0\0WEBPVP8 ", b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0", b"RIFF\xff\0\0\0WEBPVP8L"),
    "gif": (b"GIF87a", b"GIF89a\x64\0\x64\0"),
    "tif": (b"II*\0", b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0\x10\0"),
    "bmp": (b"BM\xff\xff\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", b"BM\xff\xff\0\0\0\0\0\0\x36\0\0\0\x0c\0\0\0"),
    "avif": (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B", b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif\0\0\1\0meta"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic\0\0\1\0meta"),
}
_LENGTHS = (0, 1, 2, 3, 7, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
_SIZES = (0, 1, 2, 99, 101, 128, 1000, 4000, 16383, 20000, 65535)


@dataclass(frozen=True)
class Photo:
    """A valid photo to break."""

    suffix: str
    data: bytes


Mutation = Callable[[Photo, random.Random, list[Photo]], bytes]


def hostile_photos(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `n` broken photos as (file name, content), the same for the same seed and base photos.

    They are mutations of real photos (painted ones where those are absent) and of their encodings as PNG, WebP,
    GIF, TIFF, BMP and AVIF, and of HEIC photos if they can be read. Every one must decode or be a DecodeError.
    """
    rng, bases = random.Random(seed), base_photos()
    for i in range(n):
        photo = bases[rng.randrange(len(bases))]
        mutation = rng.choice(MUTATIONS)
        data = mutation(photo, rng, bases)
        # A wrong checksum stops a PNG reader before it meets anything worse.
        if rng.random() < 0.5:
            data = fix_checksums(data)
        if data == photo.data:
            data = _flip_bits(photo, rng, bases)
        yield f"{i:05d}-{mutation.__name__.strip('_')}.{photo.suffix}", data


def base_photos() -> list[Photo]:
    """Whole photos in every format the decoder knows: JPEG, PNG and WebP most of all."""
    paths = sorted(REAL.glob("sample/*/*.jpg"))[::9]
    jpegs = [path.read_bytes() for path in paths] or [encode(paint(100, 100, i), "JPEG") for i in range(12)]
    photos = [Photo("jpg", jpeg) for jpeg in jpegs]
    for i, jpeg in enumerate(jpegs):
        image = Image.open(io.BytesIO(jpeg))
        photos += [Photo("png", encode(image, "PNG")), Photo("webp", encode(image, "WEBP", exif=EXIF_TURNED))]
        photos += [rare(image) for rare in _RARE[i :: len(jpegs)]]
    if HAS_HEIC:
        photos += [Photo("heic", path.read_bytes()) for path in sorted(HEIC.glob("*.heic"))]
    return photos


def _with_alpha(image: Image.Image) -> Image.Image:
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    return clear


_RARE: list[Callable[[Image.Image], Photo]] = [
    lambda image: Photo("jpg", encode(image, "JPEG", progressive=True, exif=EXIF_TURNED)),
    lambda image: Photo("jpg", encode(image.convert("CMYK"), "JPEG", restart_marker_rows=1)),
    lambda image: Photo("png", encode(image.quantize(64), "PNG", exif=EXIF_TURNED)),
    lambda image: Photo("png", encode(_with_alpha(image), "PNG")),
    lambda image: Photo("png", encode(image, "PNG", save_all=True, append_images=[image.rotate(90)])),
    lambda image: Photo("webp", encode(_with_alpha(image), "WEBP", lossless=True)),
    lambda image: Photo("webp", encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)])),
    lambda image: Photo("gif", encode(image, "GIF", save_all=True, append_images=[image.rotate(90)], disposal=2)),
    lambda image: Photo("tif", encode(image, "TIFF")),
    lambda image: Photo("tif", encode(image, "TIFF", compression="tiff_lzw")),
    lambda image: Photo("tif", encode(image, "TIFF", compression="tiff_adobe_deflate", exif=EXIF_TURNED)),
    lambda image: Photo("bmp", encode(image, "BMP")),
    lambda image: Photo("avif", encode(image, "AVIF", speed=9, max_threads=1, exif=EXIF_TURNED)),
    lambda image: Photo("avif", encode(_with_alpha(image), "AVIF", speed=9, max_threads=1)),
    lambda image: Photo("jpg", encode(image, "JPEG", icc_profile=bytes(100_000), comment=b"a note")),
    lambda image: Photo("png", encode(image, "PNG", icc_profile=bytes(2_000_000))),
    lambda image: Photo("tif", _inverted_tiff(image)),
    lambda image: Photo(
        "bmp", build_bmp(124, 3, [(1, 2, 3, 0)] * 50, struct.pack("<4I", 255 << 16, 255 << 8, 255, 255 << 24))
    ),
]


def _inverted_tiff(image: Image.Image) -> bytes:
    """A TIFF of 16 bits in which white is zero."""
    pixels = (np.asarray(image.convert("L")).astype("<u2") * 257).tobytes()
    return build_grey_tiff(image.size, pixels, {258: 16, 262: 0, 273: -1, 278: image.height, 279: len(pixels)})


def _flip_bits(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    broken = bytearray(photo.data)
    # Headers are short and matter most: half of the flips fall there.
    end = len(broken) if rng.random() < 0.5 else min(len(broken), 400)
    for _ in range(rng.choice((1, 2, 8, 64))):
        broken[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _overwrite_run(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    length = rng.choice((1, 4, 16, 256))
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    start = rng.randrange(len(photo.data))
    return photo.data[:start] + run + photo.data[start + length :]


def _truncate(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    return photo.data[: rng.randrange(len(photo.data))]


def _fill_end(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    """Cut off, like an interrupted copy into a file of the full size; or only the last bytes."""
    n_lost = rng.choice((1, 2, 3, 8, rng.randrange(len(photo.data))))
    return photo.data[:-n_lost] + rng.choice((b"", bytes(n_lost), b"\xff" * n_lost, bytes(100_000)))


def _drop_slice(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    start = rng.randrange(len(photo.data))
    return photo.data[:start] + photo.data[start + rng.choice((1, 16, 512, 4096)) :]


def _double_slice(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    start = rng.randrange(len(photo.data))
    end = start + rng.choice((1, 16, 512, 4096))
    return photo.data[:end] + photo.data[start:]


def _drop_segment(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    start, end = _choose_segment(photo.data, rng)
    return photo.data[:start] + photo.data[end:]


def _double_segment(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    start, end = _choose_segment(photo.data, rng)
    return photo.data[:end] + photo.data[start:end] * rng.choice((1, 1, 30)) + photo.data[end:]


def _change_length(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    start, _ = _choose_segment(photo.data, rng)
    offset, form = {"jpg": (2, ">H"), "png": (0, ">I"), "webp": (4, "<I"), "tif": (4, "<I"), **_BOX_LENGTHS}.get(
        photo.suffix, (0, "<H")
    )
    broken = bytearray(photo.data)
    if start + offset + 4 <= len(broken):
        struct.pack_into(form, broken, start + offset, rng.choice(_LENGTHS) & (1 << 8 * struct.calcsize(form)) - 1)
    return bytes(broken)


def _change_size(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    return claim_size(photo.data, rng.choice(_SIZES) or 1, rng.choice(_SIZES) or 1)


def _splice(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    other = rng.choice(bases).data
    return photo.data[: rng.randrange(len(photo.data))] + other[rng.randrange(len(other)) :]


def _fill_after_magic(photo: Photo, rng: random.Random, bases: list[Photo]) -> bytes:
    return rng.choice(_MAGIC[photo.suffix]) + rng.randbytes(rng.choice((0, 1, 10, 100, 5000)))


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _overwrite_run,
    _truncate,
    _fill_end,
    _drop_slice,
    _double_slice,
    _drop_segment,
    _double_segment,
    _change_length,
    _change_size,
    _splice,
    _fill_after_magic,
)


def fix_checksums(data: bytes) -> bytes:
    """Return a PNG with correct checksums, as far as its chunks can be parsed; other files unchanged."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    fixed = bytearray(data)
    for at in _png_chunks(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 <= len(data):
            struct.pack_into(">I", fixed, end, zlib.crc32(data[at + 4 : end]))
    return bytes(fixed)


_BOX_LENGTHS = {"avif": (0, ">I"), "heic": (0, ">I")}


def _choose_segment(data: bytes, rng: random.Random) -> tuple[int, int]:
    """Start and end of one of the pieces the file is made of; 16 bytes anywhere where pieces are unknown."""
    walks = {b"\xff\xd8": _jpeg_segments, b"\x89P": _png_chunks, b"RI": _riff_chunks, b"II": _tiff_entries}
    walk = (walks | {b"\0\0": _boxes}).get(data[:2])
    starts = [at for at in walk(data) if at < len(data)] if walk else []
    if not starts:
        start = rng.randrange(len(data))
        return start, start + 16
    i = rng.randrange(len(starts))
    return starts[i], starts[i + 1] if i + 1 < len(starts) else len(data)


def _jpeg_segments(data: bytes | bytearray) -> Iterator[int]:
    """Where the segments before the first scan begin, and that scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        yield at
        if data[at + 1] == 0xDA:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _png_chunks(data: bytes) -> Iterator[int]:
    at = 8
    while at + 12 <= len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _riff_chunks(data: bytes) -> Iterator[int]:
    at = 12
    while at + 8 <= len(data):
        yield at
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little") + 1 & ~1


def _boxes(data: bytes | bytearray) -> Iterator[int]:
    """Where the boxes of an AVIF or HEIC begin, inner ones too."""
    for found in re.finditer(
        rb"ftyp|meta|hdlr|pitm|iloc|iinf|infe|iref|iprp|ipco|ispe|pixi|...C|colr|ipma|mdat", data
    ):
        if found.start() >= 4:
            yield found.start() - 4


def _tiff_entries(data: bytes | bytearray) -> Iterator[int]:
    start = int.from_bytes(data[4:8], "little")
    n_entries = int.from_bytes(data[start : start + 2], "little")
    yield from range(start + 2, min(start + 2 + 12 * n_entries, len(data) - 11), 12)
