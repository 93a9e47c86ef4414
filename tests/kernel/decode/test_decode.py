from __future__ import annotations

import functools
import io
import json
import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from tests.support.photos import (
    EXIF_TURNED,
    REAL,
    WHY_NO_REAL,
    build_gif,
    build_grey_tiff,
    build_png,
    claim_size,
    encode,
    hostile_photos,
    paint,
    png_chunk,
    repeat_last_scan,
)
from verger.errors import DecodeError, Reason
from verger.kernel.decode import RGB, check_file_size, decode_image, decode_rgb, max_file_bytes

# verger.kernel.decode silences Pillow's modules, but pytest puts its own filters before that.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=WHY_NO_REAL)
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")

WIDE = paint(60, 40)
LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}
LOSSY: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "webp-lossy": ("WEBP", {}),
    "gif": ("GIF", {}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "avif": ("AVIF", {}),
}
ALL = LOSSLESS | LOSSY


def write(image: Image.Image, name: str, **options: Any) -> bytes:
    kind, usual = ALL[name]
    return encode(image, kind, **(usual | options))


def reason_of(data: bytes, **options: Any) -> Reason:
    with pytest.raises(DecodeError) as caught:
        decode_rgb(data, **options)
    return caught.value.reason


def outcome(data: bytes, max_pixels: int = 50_000_000) -> bytes | Reason:
    """The pixels, or why there are none."""
    try:
        return decode_rgb(data, max_pixels=max_pixels).tobytes()
    except DecodeError as error:
        return error.reason


def pixels_of(data: bytes) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in decode_rgb(data).reshape(-1, 3).tolist()]


def exif_of(orientation: int) -> bytes:
    return EXIF_TURNED.replace(b"\0\x06\0\0", b"\0" + bytes([orientation]) + b"\0\0")


def mean_difference(rgb: RGB, image: Image.Image) -> float:
    return float(np.abs(rgb.astype(np.int64) - np.asarray(image)).mean())


# What comes out.


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_their_pixels(name: str) -> None:
    rgb = decode_rgb(write(WIDE, name))
    assert rgb.dtype == np.uint8
    assert rgb.shape == (40, 60, 3)
    assert np.array_equal(rgb, np.asarray(WIDE))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (7, 5)])
def test_every_format_at_odd_sizes_is_as_pillow_has_it(name: str, size: tuple[int, int]) -> None:
    data = write(paint(*size), name)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_rgb(data), expected)
    assert expected.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_look_like_the_picture(name: str) -> None:
    assert mean_difference(decode_rgb(write(WIDE, name)), WIDE) < 8


@pytest.mark.parametrize("size_px", [(224, 224), (96, 64), (60, 40), (1, 1)])
def test_resizing_is_pillows_bicubic_to_the_bit(size_px: tuple[int, int]) -> None:
    data = write(WIDE, "jpeg")
    expected = decode_image(data).image.resize(size_px, Image.Resampling.BICUBIC)
    assert np.array_equal(decode_rgb(data, size_px=size_px), np.asarray(expected))
    assert expected.size == size_px


@needs_real
def test_real_photos_are_as_pillow_has_them() -> None:
    paths = sorted(REAL.glob("sample/*/*.jpg"))
    assert len(paths) == 100
    for path in paths:
        expected = Image.open(path).convert("RGB")
        assert np.array_equal(decode_rgb(path.read_bytes()), np.asarray(expected)), path
        resized = decode_rgb(path.read_bytes(), size_px=(224, 224))
        assert np.array_equal(resized, np.asarray(expected.resize((224, 224), Image.Resampling.BICUBIC))), path


@needs_real
def test_phone_photos_are_as_pillow_has_them_upright() -> None:
    with tarfile.open(REAL / "grocery-trainval.tar") as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][::60]
        photos = [tar.extractfile(member) for member in members]
        contents = [photo.read() for photo in photos if photo]
    assert len(contents) >= 20
    for data in contents:
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.array_equal(decode_rgb(data), np.asarray(expected))


# Upright.


def lie_down(upright: RGB, orientation: int) -> RGB:
    """What a camera stores under this orientation, by the EXIF standard and not by Pillow."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["png", "webp", "tiff", "tiff-lzw", "tiff-deflate"])
def test_upright_by_exif(name: str, orientation: int) -> None:
    upright = np.asarray(WIDE)
    stored = Image.fromarray(lie_down(upright, orientation))
    assert np.array_equal(decode_rgb(write(stored, name, exif=exif_of(orientation))), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "webp-lossy"])
def test_upright_by_exif_where_pixels_are_lossy(name: str, orientation: int) -> None:
    stored = Image.fromarray(lie_down(np.asarray(WIDE), orientation))
    plain, tagged = decode_rgb(write(stored, name)), decode_rgb(write(stored, name, exif=exif_of(orientation)))
    assert np.array_equal(lie_down(tagged, orientation), plain)
    assert tagged.shape == (40, 60, 3)


LAID_DOWN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", LAID_DOWN)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_other_pixels_turn_too(mode: str, orientation: int) -> None:
    if mode == "I;16":
        upright = Image.fromarray(np.asarray(WIDE.convert("L")).astype(np.uint16) * 257)
    else:
        upright = WIDE.convert(mode)
    data = encode(upright.transpose(LAID_DOWN[orientation]), "PNG", exif=exif_of(orientation))
    assert np.array_equal(decode_rgb(data), decode_rgb(encode(upright, "PNG")))


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    rows = b"\0" + bytes([1, 2, 3, 250, 251, 252])
    data = build_png((2, 1), 8, 2, rows, after=png_chunk(b"eXIf", EXIF_TURNED[6:]))
    assert decode_rgb(data).shape == (2, 1, 3)


def test_orientation_in_xmp_counts() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decode_rgb(encode(WIDE, "JPEG", xmp=xmp)).shape == (60, 40, 3)


BROKEN_EXIF = {
    "garbage": b"Exif\0\0" + b"\x17" * 40,
    "nothing": b"Exif\0\0",
    "bad byte order": b"Exif\0\0XX" + EXIF_TURNED[8:],
    "cut in the entry": EXIF_TURNED[:20],
    "directory behind the end": EXIF_TURNED[:10] + b"\0\0\xff\xff" + EXIF_TURNED[14:],
    "counts 65535 entries": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(24),
    "orientation 0": exif_of(0),
    "orientation 9": exif_of(9),
    "orientation is text": EXIF_TURNED.replace(b"\x01\x12\0\x03\0\0\0\x01\0\x06", b"\x01\x12\0\x02\0\0\0\x026\0"),
    # Pillow's own JPEG reader, which looks for it, stumbles here.
    "resolution is text": b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
    + struct.pack(">HHIHH", 0x0128, 3, 1, 2, 0)
    + struct.pack(">HHII", 0x011A, 2, 1, 0)
    + bytes(4),
    "value behind the end": EXIF_TURNED.replace(b"\0\0\0\x01\0\x06", b"\0\0\0\x09\x7f\x06"),
}


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("kind", BROKEN_EXIF)
def test_broken_exif_costs_no_picture(kind: str, name: str) -> None:
    data = write(WIDE, name, exif=BROKEN_EXIF[kind])
    assert np.array_equal(decode_rgb(data), decode_rgb(write(WIDE, name)))


def test_exif_broken_behind_the_orientation_still_turns() -> None:
    """Pillow's own exif_transpose writes all of EXIF again and fails where one entry cannot be written."""
    two = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHIi", 0x8769, 9, 1, -5)
    data = encode(WIDE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + two + bytes(4))
    with pytest.raises(ValueError, match="negative seek"):
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert decode_rgb(data).shape == (60, 40, 3)


# Pixel formats.


@pytest.mark.parametrize("name", ["png", "tiff", "bmp", "jpeg"])
def test_grey_is_three_equal_channels(name: str) -> None:
    grey = WIDE.convert("L")
    rgb = decode_rgb(write(grey, name))
    assert np.array_equal(rgb, np.repeat(rgb[:, :, :1], 3, axis=2))
    assert mean_difference(rgb[:, :, 0], grey) < (2 if name == "jpeg" else 1e-9)


@pytest.mark.parametrize("name", ["png", "tiff", "bmp"])
def test_one_bit_is_black_and_white(name: str) -> None:
    bits = WIDE.convert("1")
    assert np.array_equal(decode_rgb(write(bits, name)), np.asarray(bits.convert("RGB")))


@pytest.mark.parametrize("name", ["png", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("n_colours", [2, 16, 200])
def test_palette_gives_its_colours(name: str, n_colours: int) -> None:
    palette = WIDE.quantize(n_colours)
    assert np.array_equal(decode_rgb(write(palette, name)), np.asarray(palette.convert("RGB")))


def test_alpha_goes_onto_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 0), (10, 20, 30, 255), (0, 100, 200, 51)])
    for data in (encode(image, "PNG"), encode(image, "WEBP", lossless=True, exact=True), encode(image, "TIFF")):
        assert pixels_of(data) == [(255, 255, 255), (10, 20, 30), (204, 224, 244)]


def test_alpha_onto_white_rounds_to_the_nearest() -> None:
    values, alphas = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([values, values, values, alphas], axis=-1).astype(np.uint8)
    expected = np.floor((values * alphas + 255 * (255 - alphas)) / 255 + 0.5)
    assert np.array_equal(decode_rgb(encode(Image.fromarray(rgba), "PNG"))[:, :, 0], expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_goes_onto_white(kind: str) -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(7, 0), (7, 255)])
    assert pixels_of(encode(image, kind)) == [(255, 255, 255), (7, 7, 7)]


def test_premultiplied_grey_goes_onto_white() -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(0, 0), (7, 255)])
    entry = struct.pack("<HHIHH", 338, 3, 1, 2, 0)  # ExtraSamples: unassociated alpha ...
    data = encode(image, "TIFF")
    assert entry in data
    associated = data.replace(entry, struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert pixels_of(associated) == [(255, 255, 255), (7, 7, 7)]


def test_palette_with_alpha_goes_onto_white() -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([9, 9, 9, 100, 0, 0])
    image.putdata([(1, 0), (1, 255)])
    assert pixels_of(encode(image, "TIFF")) == [(255, 255, 255), (100, 0, 0)]


PALETTE = png_chunk(b"PLTE", bytes([9, 9, 9, 100, 0, 0, 0, 200, 0]))
WHITE, BLACK, RED, GREEN = (255, 255, 255), (0, 0, 0), (100, 0, 0), (0, 200, 0)


def shorts(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "expected"),
    [
        (8, 3, b"\0\1\2", b"", [(9, 9, 9), RED, GREEN]),
        (8, 3, b"\0\1\2", b"\xff\0", [(9, 9, 9), WHITE, GREEN]),
        (8, 3, b"\0\1\2", b"\0\x80", [WHITE, (177, 127, 127), GREEN]),
        (16, 0, shorts(0, 1000, 1001), shorts(1000), [BLACK, WHITE, (4, 4, 4)]),
        (8, 0, b"\0\7\x08", shorts(7), [BLACK, WHITE, (8, 8, 8)]),
        (4, 0, b"\x05\x60", shorts(5), [BLACK, WHITE, (102, 102, 102)]),
        (2, 0, b"\x18", shorts(1), [BLACK, WHITE, (170, 170, 170)]),
        (1, 0, b"\x40", shorts(1), [BLACK, WHITE, BLACK]),
        (1, 0, b"\x40", shorts(0), [WHITE, WHITE, WHITE]),
        (8, 2, b"\1\2\3\1\2\4\0\0\0", shorts(1, 2, 3), [WHITE, (1, 2, 4), BLACK]),
        (16, 2, shorts(256, 512, 768, 256, 512, 1024, 0, 0, 0), shorts(256, 512, 768), [WHITE, (1, 2, 4), BLACK]),
    ],
)
def test_clear_colours_of_png_go_onto_white(
    depth: int, colour: int, row: bytes, clear: bytes, expected: list[tuple[int, ...]]
) -> None:
    before = (PALETTE if colour == 3 else b"") + (png_chunk(b"tRNS", clear) if clear else b"")
    assert pixels_of(build_png((3, 1), depth, colour, b"\0" + row, before=before)) == expected


def test_clear_colour_of_gif_goes_onto_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 100, 0, 0])
    image.putdata([0, 1])
    assert pixels_of(encode(image, "GIF", transparency=0)) == [(255, 255, 255), (100, 0, 0)]


INKS = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (40, 80, 120, 30)]
INKS_AS_RGB = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0), (190, 155, 119)]


def print_inks() -> Image.Image:
    image = Image.new("CMYK", (16 * len(INKS), 16))
    for i, ink in enumerate(INKS):
        image.paste(ink, (16 * i, 0, 16 * i + 16, 16))
    return image


def centres(rgb: RGB) -> npt.NDArray[np.int64]:
    return rgb[8, 8::16].astype(np.int64)


def test_cmyk_jpeg_as_photoshop_writes_it_has_the_right_colours() -> None:
    data = encode(print_inks(), "JPEG", quality=100)
    assert data[data.index(b"Adobe") + 11] == 0  # inverted CMYK
    assert np.abs(centres(decode_rgb(data)) - INKS_AS_RGB).max() <= 3


def test_ycck_jpeg_has_the_right_colours() -> None:
    cyan, magenta, yellow, black = print_inks().split()
    y, cb, cr = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [ImageOps.invert(band) for band in (y, cb, cr)]  # Pillow's writer inverts again
    data = bytearray(encode(Image.merge("CMYK", (*inverted, black)), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2  # these planes are YCCK
    assert np.abs(centres(decode_rgb(bytes(data))) - INKS_AS_RGB).max() <= 6


def test_cmyk_tiff_has_the_right_colours() -> None:
    assert np.abs(centres(decode_rgb(encode(print_inks(), "TIFF"))) - INKS_AS_RGB).max() <= 2


def test_sixteen_bit_grey_is_rounded() -> None:
    values = np.array([0, 128, 129, 200, 32768, 65406, 65407, 65535], np.uint16)
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    png = build_png((8, 1), 16, 0, b"\0" + values.astype(">u2").tobytes())
    tiff = encode(Image.fromarray(values[None]), "TIFF")
    big_endian = encode(Image.fromarray(values.astype(">u2")[None]), "TIFF")
    for data in (png, tiff, big_endian):
        assert pixels_of(data) == [(grey,) * 3 for grey in expected]


def test_every_eight_bit_value_survives_sixteen_bits() -> None:
    values = (np.arange(256, dtype=np.uint16) * 257)[None]
    assert decode_rgb(encode(Image.fromarray(values), "PNG"))[0, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize("colour", [2, 6])
def test_sixteen_bit_colour(colour: int) -> None:
    opaque = (0xFFFF,) if colour == 6 else ()
    row = b"\0" + struct.pack(f">{6 + 2 * len(opaque)}H", 65535, 0, 32768, *opaque, 257, 514, 65278, *opaque)
    assert pixels_of(build_png((2, 1), 16, colour, row)) == [(255, 0, 128), (1, 2, 254)]


def test_sixteen_bit_alpha_goes_onto_white() -> None:
    assert pixels_of(build_png((1, 1), 16, 6, b"\0" + struct.pack(">4H", 1, 2, 3, 0))) == [(255, 255, 255)]
    assert pixels_of(build_png((1, 1), 16, 4, b"\0" + struct.pack(">2H", 1, 0))) == [(255, 255, 255)]


FLOAT_RGB = build_grey_tiff((1, 1), bytes(12), {258: [32] * 3, 262: 2, 277: 3, 339: 3, 273: -1, 278: 1, 279: 12})


@pytest.mark.parametrize(
    "data",
    [
        encode(Image.new("F", (4, 4), 0.5), "TIFF"),
        encode(Image.new("I", (4, 4), 70_000), "TIFF"),
        encode(Image.new("I", (4, 4), -1), "TIFF"),
        FLOAT_RGB,
        write(WIDE, "jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    ],
    ids=["float", "32-bit", "negative", "float RGB", "12-bit JPEG"],
)
def test_pixels_without_an_agreed_rendering_are_unsupported(data: bytes) -> None:
    assert reason_of(data) == Reason.UNSUPPORTED


# Files of several pictures.


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("PNG", {"default_image": True}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("GIF", {"disposal": 2}),
    ],
)
def test_first_picture_of_several(kind: str, options: dict[str, Any]) -> None:
    first = WIDE.quantize(100) if kind == "GIF" else WIDE
    others = [first.transpose(Image.Transpose.ROTATE_180)] * 2
    data = encode(first, kind, save_all=True, append_images=others, **options)
    assert np.array_equal(decode_rgb(data), np.asarray(first.convert("RGB")))


def test_mpo_is_its_first_jpeg() -> None:
    data = encode(WIDE, "MPO", save_all=True, append_images=[paint(60, 40, 1)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.array_equal(decode_rgb(data), decode_rgb(write(WIDE, "jpeg")))


def test_mpo_with_a_broken_index_is_its_first_jpeg() -> None:
    data = encode(WIDE, "MPO", save_all=True, append_images=[paint(60, 40, 1)])
    broken = data.replace(b"MPF\0II*\0\x08\0\0\0", b"MPF\0II*\0\xff\xff\0\0")
    assert broken != data
    assert np.array_equal(decode_rgb(broken), decode_rgb(data))


def test_tiled_and_planar_tiff() -> None:
    tile = np.arange(32 * 16, dtype=np.uint8).reshape(16, 32)
    tiled = build_grey_tiff((20, 10), tile.tobytes(), {322: 32, 323: 16, 324: -1, 325: 512})
    assert np.array_equal(decode_rgb(tiled)[:, :, 0], tile[:10, :20])
    planes = np.asarray(WIDE).transpose(2, 0, 1).tobytes()
    places: dict[int, int | list[int]] = {273: [-1, -1 - 2400, -1 - 4800], 279: [2400] * 3, 278: 40}
    planar = build_grey_tiff((60, 40), planes, {258: [8] * 3, 262: 2, 277: 3, 284: 2, **places})
    assert np.array_equal(decode_rgb(planar), np.asarray(WIDE))


# Why a photo is refused.


def test_no_bytes_is_empty() -> None:
    assert reason_of(b"") == Reason.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"An apple a day keeps the doctor away.\n" * 50,
        b"BMW builds cars, and this is no bitmap.",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (w) file\nshowpage\n",
        b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, 60, 0, 0, 0, 0) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"P6 1 1 255\n\0\0\0",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"\0" * 1000,
        b"\xff\xd8",
    ],
)
def test_other_files_are_not_images_and_start_no_program(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise SystemExit("started a program")  # unlike an Exception, decode does not catch it

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert reason_of(data) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("name", ALL)
def test_cut_off_at_any_byte_is_truncated(name: str) -> None:
    data = write(paint(24, 16).quantize(64) if name == "gif" else paint(24, 16), name)
    whole = decode_rgb(data).tobytes()
    outcomes = [outcome(data[:n_bytes]) for n_bytes in range(18, len(data))]
    assert set(outcomes) <= {Reason.TRUNCATED, whole}
    # Whole where only what follows the pixels is missing: checksums and an end mark.
    assert outcomes.count(whole) <= 24
    assert outcomes[0] == Reason.TRUNCATED


@needs_real
def test_real_photos_cut_in_half_are_truncated() -> None:
    for path in sorted(REAL.glob("sample/*/*.jpg"))[::7]:
        data = path.read_bytes()
        assert reason_of(data[: len(data) // 2]) == Reason.TRUNCATED


def test_tiff_whose_pixels_come_last_is_truncated() -> None:
    """As cameras write it: all tags are there, so that only libtiff sees the end."""
    pixels = zlib.compress(np.random.default_rng(0).bytes(64 * 64))
    data = build_grey_tiff((64, 64), pixels, {259: 8, 273: -1, 278: 64, 279: len(pixels)})
    assert decode_rgb(data).shape == (64, 64, 3)
    assert reason_of(data[:-2000]) == Reason.TRUNCATED


@pytest.mark.parametrize("name", ["png", "webp", "gif", "tiff-lzw", "tiff-deflate"])
def test_garbled_pixels_are_corrupt(name: str) -> None:
    data = write(WIDE.quantize(64) if name == "gif" else WIDE, name)
    start, n_bytes = {"png": (100, 60), "tiff-deflate": (8, 9)}.get(name, (len(data) // 3, 600))
    assert reason_of(data[:start] + b"\xff" * n_bytes + data[start + n_bytes :]) == Reason.CORRUPT


def test_decode_error_says_what_pillow_says() -> None:
    data = bytearray(write(WIDE, "png"))
    data[30] ^= 1
    with pytest.raises(DecodeError, match="checksum in b'IHDR'") as caught:
        decode_rgb(bytes(data))
    assert caught.value.reason == Reason.CORRUPT
    assert isinstance(caught.value.__cause__, SyntaxError)


def test_decode_error_survives_pickling() -> None:
    error = DecodeError(Reason.TRUNCATED, "OSError: image file is truncated")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.reason, again.detail) == (DecodeError, error.reason, error.detail)
    assert str(again) == str(error) == "truncated: OSError: image file is truncated"


# The limit on pixels, and bombs.

EXTENDED_WEBP = encode(WIDE, "WEBP", exif=EXIF_TURNED)
HUGE = {name: claim_size(write(WIDE, name), 20_000, 20_000) for name in ALL if "webp" not in name} | {
    "webp": claim_size(write(WIDE, "webp"), 16_000, 16_000),
    "webp-lossy": claim_size(write(WIDE, "webp-lossy"), 16_000, 16_000),
    "webp-extended": claim_size(EXTENDED_WEBP, 20_000, 20_000),
    "gif-frame": build_gif((16, 16), (60_000, 60_000), disposal=0),
    "gif-cleared-frame": build_gif((16, 16), (30_000, 30_000), disposal=2),
    "tiff-tile": build_grey_tiff((16, 16), b"\0\0", {259: 5, 322: 16384, 323: 16384, 324: -1, 325: 2}),
}


@pytest.mark.parametrize("name", HUGE)
def test_header_that_claims_too_much_is_refused(name: str) -> None:
    assert len(HUGE[name]) < 10_000
    with pytest.raises(DecodeError, match="over the limit of 50 megapixels") as caught:
        decode_rgb(HUGE[name])
    assert caught.value.reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", HUGE)
def test_the_reason_does_not_hang_on_what_was_allowed_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400_000_000)
    assert reason_of(HUGE[name]) == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("data", [write(WIDE, "webp"), write(WIDE, "webp-lossy"), EXTENDED_WEBP])
def test_size_of_every_kind_of_webp(data: bytes) -> None:
    assert reason_of(data, max_pixels=2399) == Reason.TOO_MANY_PIXELS
    assert decode_rgb(data, max_pixels=2400).size == 60 * 40 * 3


@pytest.mark.parametrize("name", ALL)
def test_the_limit_is_the_users_and_exact(name: str) -> None:
    data = write(WIDE, name)
    assert decode_rgb(data, max_pixels=2400).shape == (40, 60, 3)
    assert reason_of(data, max_pixels=2399) == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", ALL)
def test_the_users_limit_beats_pillows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode_rgb(write(WIDE, name), max_pixels=2400).shape == (40, 60, 3)


def test_a_cleared_gif_frame_passes_where_the_user_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GIF reader asks Pillow's own limit, not ours."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    gif = encode(WIDE.quantize(64), "GIF", save_all=True, append_images=[paint(60, 40, 1)], disposal=2)
    assert decode_rgb(gif, max_pixels=2400).shape == (40, 60, 3)


@pytest.mark.parametrize("size", [(1, 49_000_000), (49_000_000, 1), (65_536, 655)])
def test_a_picture_too_long_to_be_resized_is_refused(size: tuple[int, int]) -> None:
    data = claim_size(write(WIDE, "png"), *size)
    with pytest.raises(
        DecodeError, match=r"a side over 65,535 pixels may be at most 100 times the other"
    ) as caught:
        decode_rgb(data)
    assert caught.value.reason == Reason.TOO_MANY_PIXELS


def test_a_side_may_be_as_long_as_a_jpegs_or_a_hundred_times_the_other() -> None:
    longest = encode(Image.new("L", (65_500, 1), 9), "JPEG")  # the encoder's own limit, under the format's
    assert decode_rgb(longest, size_px=(4, 4)).max() == 9
    panorama = encode(Image.new("1", (65_600, 656), 1), "PNG")
    assert decode_rgb(panorama, size_px=(4, 4)).min() == 255


def test_a_picture_for_which_memory_runs_out_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: object) -> None:
        raise MemoryError

    data = write(WIDE, "png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(DecodeError, match=r"^poison: decoding it takes more memory than there is$"):
        decode_rgb(data)


def test_the_limit_on_a_files_bytes_grows_with_that_on_pixels() -> None:
    assert max_file_bytes() == max_file_bytes(1) == 500_000_000
    assert max_file_bytes(100_000_000) == 900_000_000
    check_file_size(500_000_000)
    with pytest.raises(DecodeError, match=r"^too-large: 4,398,047 MB is over the limit of 500 MB for a file$"):
        check_file_size(4 << 40)


@pytest.mark.slow
def test_raised_limit_lets_a_large_photo_through() -> None:
    data = encode(Image.new("1", (20_000, 9_100), 1), "PNG")  # more than twice Pillow's own limit
    assert reason_of(data) == Reason.TOO_MANY_PIXELS
    assert decode_rgb(data, max_pixels=200_000_000, size_px=(4, 4)).min() == 255


def test_text_that_unpacks_to_too_much_is_not_unpacked() -> None:
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    assert len(bomb) < 100_000
    assert pixels_of(build_png((1, 1), 8, 0, b"\0\7", before=bomb)) == [(7, 7, 7)]
    harmless = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5000)))
    assert pixels_of(build_png((1, 1), 8, 0, b"\0\7", before=harmless)) == [(7, 7, 7)]


def test_pixels_that_unpack_to_more_than_the_picture_are_left_there() -> None:
    assert pixels_of(build_png((1, 1), 8, 0, b"\0\7" + bytes(50_000_000))) == [(7, 7, 7)]


def test_endless_scans_of_a_small_jpeg_are_refused() -> None:
    data = encode(paint(64, 64), "JPEG", progressive=True)
    assert decode_rgb(repeat_last_scan(data, 50)).shape == (64, 64, 3)
    with pytest.raises(DecodeError, match="progressive scans") as caught:
        decode_rgb(repeat_last_scan(data, 5000))
    assert caught.value.reason == Reason.UNSUPPORTED


def test_scans_are_counted_in_this_picture_only() -> None:
    data = encode(paint(64, 64), "JPEG", progressive=True)
    thumbnail = repeat_last_scan(data, 3000)
    in_segment = data[:2] + b"\xff\xef" + struct.pack(">H", 2 + 60_000) + thumbnail[:60_000] + data[2:]
    assert np.array_equal(decode_rgb(in_segment), decode_rgb(data))
    assert np.array_equal(decode_rgb(data + thumbnail), decode_rgb(data))  # a video or depth map behind it


def test_a_strip_listed_without_end_is_refused() -> None:
    tags: dict[int, int | list[int]] = {278: 5, 279: 50, 273: [-1] * 10_000}
    assert reason_of(build_grey_tiff((10, 10), bytes(50), tags)) == Reason.CORRUPT


# Decoding at a reduced scale.

LARGE = paint(800, 600)
SCALED_PX = (100, 100)  # 1/4 of LARGE is 200 x 150, 1/8 is 100 x 75
LARGE_JPEGS = {
    "baseline": encode(LARGE, "JPEG"),
    "progressive": encode(LARGE, "JPEG", progressive=True),
    "4:4:4": encode(LARGE, "JPEG", subsampling=0),
    "restarts": encode(LARGE, "JPEG", restart_marker_rows=1),
    "grey": encode(LARGE.convert("L"), "JPEG"),
    "CMYK": encode(LARGE.convert("CMYK"), "JPEG"),
    "CMYK progressive": encode(LARGE.convert("CMYK"), "JPEG", progressive=True),
    "turned": encode(LARGE, "JPEG", exif=EXIF_TURNED),
}


def verdict(data: bytes, min_size_px: tuple[int, int] | None) -> tuple[int, int] | Reason:
    """The photo's size, or why it is rejected."""
    try:
        decoded = decode_image(data, min_size_px=min_size_px)
    except DecodeError as error:
        return error.reason
    return decoded.width, decoded.height


@pytest.mark.parametrize("name", LARGE_JPEGS)
def test_a_large_jpeg_is_decoded_at_a_reduced_scale(name: str) -> None:
    exact = decode_image(LARGE_JPEGS[name])
    scaled = decode_image(LARGE_JPEGS[name], min_size_px=SCALED_PX)
    assert (exact.width, exact.height) == exact.image.size == (scaled.width, scaled.height)
    assert scaled.image.size == (exact.width // 4, exact.height // 4)
    assert scaled.image.mode == "RGB"
    assert mean_difference(np.asarray(scaled.image), exact.image.resize(scaled.image.size)) < 2


@pytest.mark.parametrize(
    ("min_size_px", "expected"),
    [
        ((1, 1), (100, 75)),
        ((100, 75), (100, 75)),
        ((101, 1), (200, 150)),
        ((1, 76), (200, 150)),
        ((201, 1), (400, 300)),
        ((400, 301), (800, 600)),
        ((2000, 2000), (800, 600)),
    ],
)
def test_the_scale_is_the_smallest_that_is_large_enough(
    min_size_px: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert decode_image(LARGE_JPEGS["baseline"], min_size_px=min_size_px).image.size == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_smallest_size_is_of_the_upright_picture(orientation: int) -> None:
    stored = Image.fromarray(lie_down(np.asarray(LARGE), orientation))
    data = encode(stored, "JPEG", exif=exif_of(orientation))
    wide = decode_image(data, min_size_px=(201, 1))
    assert (wide.image.size, wide.width, wide.height) == ((400, 300), 800, 600)
    assert decode_image(data, min_size_px=(1, 150)).image.size == (200, 150)


@pytest.mark.parametrize("name", ALL)
def test_small_photos_and_other_formats_are_the_same_to_the_bit(name: str) -> None:
    data = write(LARGE, name)
    min_size_px = (401, 1) if name.startswith("jpeg") else (1, 1)
    exact, scaled = decode_image(data), decode_image(data, min_size_px=min_size_px)
    assert scaled.image.tobytes() == exact.image.tobytes()
    assert (scaled.width, scaled.height) == exact.image.size == (800, 600)


@pytest.mark.parametrize("name", LARGE_JPEGS)
def test_a_truncated_jpeg_is_rejected_at_any_scale(name: str) -> None:
    data = LARGE_JPEGS[name]
    for n_kept in {*range(20, len(data), len(data) // 25), *range(len(data) - 12, len(data))}:
        exact = verdict(data[:n_kept], None)
        assert exact == Reason.TRUNCATED or n_kept > len(data) - 6, "the last bytes change no pixel"
        assert verdict(data[:n_kept], SCALED_PX) == exact, n_kept


@pytest.mark.parametrize("name", LARGE_JPEGS)
def test_a_garbled_jpeg_has_the_same_verdict_at_any_scale(name: str) -> None:
    data = LARGE_JPEGS[name]
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(40):
        start, n_bytes = int(rng.integers(2, len(data))), int(rng.integers(1, 300))
        broken = data[:start] + rng.bytes(n_bytes) + data[start + n_bytes :]
        verdicts.append(verdict(broken, None))
        assert verdict(broken, SCALED_PX) == verdicts[-1]
    assert any(isinstance(found, Reason) for found in verdicts)


def test_limits_are_of_the_photos_true_size() -> None:
    data = LARGE_JPEGS["baseline"]
    with pytest.raises(DecodeError, match="800 x 600 is over the limit") as caught:
        decode_image(data, max_pixels=479_999, min_size_px=SCALED_PX)
    assert caught.value.reason == Reason.TOO_MANY_PIXELS
    assert verdict(repeat_last_scan(LARGE_JPEGS["progressive"], 5000), SCALED_PX) == Reason.UNSUPPORTED


def test_hostile_photos_have_the_same_verdict_at_any_scale() -> None:
    for name, data in hostile_photos(400, seed=11):
        assert verdict(data, (1, 1)) == verdict(data, None), name


# What a process that decodes costs.

CHILD = """
import json, resource, sys
from pathlib import Path
from verger.kernel.decode import decode_rgb
from verger.errors import DecodeError

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

def decode(path, **options):
    try:
        return decode_rgb(Path(path).read_bytes(), **options).shape
    except DecodeError as error:
        return error.reason
"""


def run_child(code: str, *arguments: object, limit_s: int = 120) -> Any:
    """Run `code` after CHILD with warnings as errors; return the JSON it prints, having said nothing else."""
    command = [sys.executable, "-W", "error", "-c", CHILD + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def write_all(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


@needs_proc
def test_refusing_huge_headers_allocates_nothing(tmp_path: Path) -> None:
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    contents = HUGE | {"text bomb": build_png((1, 1), 8, 0, b"\0\0", before=bomb)}
    grown_mb = run_child(
        """
small, *huge = sys.argv[1:]
decode(small)
grown = {}
for path in huge:
    before = peak_mb()
    assert decode(path) in ("too-many-pixels", "corrupt") or "bomb" in path
    grown[path] = peak_mb() - before
print(json.dumps(grown))
""",
        *write_all(tmp_path, {"0": write(WIDE, "png")} | contents),
    )
    assert len(grown_mb) == len(contents)
    assert max(grown_mb.values()) < 16, grown_mb


@needs_proc
@pytest.mark.parametrize("n_photos", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_twelve_megapixel_photos_take_bounded_memory(tmp_path: Path, n_photos: int) -> None:
    turned: dict[str, dict[str, Any]] = {"a": {}, "b": {"exif": EXIF_TURNED}, "c": {"progressive": True}}
    contents = {name: encode(paint(4000, 3000), "JPEG", **options) for name, options in turned.items()}
    peak = run_child(
        """
n_photos, *paths = sys.argv[1:]
for i in range(int(n_photos)):
    assert decode(paths[i % len(paths)], size_px=(224, 224)) == (224, 224, 3)
print(json.dumps(peak_mb()))
""",
        n_photos,
        *write_all(tmp_path, contents),
    )
    assert peak < 300


def test_memory_of_large_pictures_is_used_again_and_little_is_kept(tmp_path: Path) -> None:
    (photo := tmp_path / "a.jpg").write_bytes(encode(paint(4000, 3000), "JPEG"))
    stats = run_child(
        """
from PIL import Image
for _ in range(5):
    decode(sys.argv[1], size_px=(224, 224))
print(json.dumps(Image.core.get_stats()))
""",
        photo,
    )
    assert stats["reused_blocks"] >= 4 * 3
    assert 0 < stats["blocks_cached"] <= 4


@needs_proc
def test_refused_photos_give_their_memory_back(tmp_path: Path) -> None:
    contents = {name: write(paint(1500, 1000), name) for name in ("png", "jpeg", "webp", "tiff-lzw")}
    cut = {name: data[: len(data) * 3 // 4] for name, data in contents.items()}
    peaks = run_child(
        """
peaks = []
for i in range(30):
    assert {decode(path) for path in sys.argv[1:]} == {"truncated"}
    peaks.append(peak_mb())
print(json.dumps(peaks))
""",
        *write_all(tmp_path, cut),
    )
    assert peaks[-1] - peaks[4] < 8


def test_no_warning_is_given(tmp_path: Path) -> None:
    """Not for what Pillow warns of, even where warnings are errors."""
    mpo = encode(WIDE, "MPO", save_all=True, append_images=[WIDE])
    contents = {kind.replace(" ", "-"): encode(WIDE, "JPEG", exif=exif) for kind, exif in BROKEN_EXIF.items()}
    contents["mpo"] = mpo.replace(b"MPF\0II*\0\x08\0\0\0", b"MPF\0II*\0\xff\xff\0\0")
    contents["apng"] = build_png((1, 1), 8, 0, b"\0\0", before=png_chunk(b"acTL", bytes(8)))
    contents["palette"] = encode(WIDE.quantize(16), "PNG", transparency=b"\0\x80")
    tags: dict[int, int | list[int]] = {273: -1, 278: 1, 279: 1, 282: [1, 2, 3]}
    contents["tiff"] = build_grey_tiff((1, 1), b"\0", tags)
    shapes = run_child("print(json.dumps([decode(path) for path in sys.argv[1:]]))", *write_all(tmp_path, contents))
    assert all(len(shape) == 3 and isinstance(shape, list) for shape in shapes), shapes


@needs_proc
def test_no_file_stays_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for name in ALL:
        data = write(WIDE, name)
        decode_rgb(data)
        reason_of(data[: len(data) // 2])
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_threads_do_not_disturb_each_other() -> None:
    photos = [write(paint(120 + i, 80), name) for i in range(4) for name in ALL] * 6
    limits = [1000, 50_000_000, 200_000_000] * (len(photos) // 3)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, photos, limits))
    assert outcomes == list(map(outcome, photos, limits))
    assert outcomes.count(Reason.TOO_MANY_PIXELS) == len(photos) // 3


def test_errors_come_back_from_other_processes() -> None:
    data = write(WIDE, "png")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert np.array_equal(pool.submit(decode_rgb, data).result(), decode_rgb(data))
        with pytest.raises(DecodeError) as caught:
            pool.submit(functools.partial(decode_rgb, max_pixels=10), data).result()
    assert caught.value.reason == Reason.TOO_MANY_PIXELS
