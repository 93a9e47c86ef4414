"""What black, white and opaque are in TIFF and BMP: values that decoders interpret differently."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from tests.support.photos import Tags, build_bmp, build_grey_tiff, encode
from verger.errors import DecodeError, Reason
from verger.kernel.decode import decode_rgb
from verger.privacy.metadata import strip_metadata

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

COMPRESSIONS = {"raw": 1, "deflate": 8}
VALUES = np.array([[0, 1, 300, 32768, 65279, 65535]], np.uint16)


def grey_tiff(values: np.ndarray, tags: Mapping[int, int | list[int]], compression: str = "raw") -> bytes:
    """A TIFF of one strip with these pixels."""
    pixels = values.tobytes() if compression == "raw" else zlib.compress(values.tobytes())
    height, width = values.shape
    depth = 8 * values.itemsize
    strip: Tags = {258: depth, 259: COMPRESSIONS[compression], 273: -1, 278: height, 279: len(pixels)}
    return build_grey_tiff((width, height), pixels, {**strip, **tags})


def row_of(data: bytes) -> list[int]:
    rgb = decode_rgb(data)
    assert (rgb[:, :, :1] == rgb).all()
    return [int(value) for value in rgb[0, :, 0]]


def eight_bits(values: np.ndarray, white: int) -> list[int]:
    return [int(value) for value in np.rint(values[0] * (255 / white))]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tiff_of_sixteen_bits_in_which_white_is_zero_is_inverted(compression: str) -> None:
    black_is_zero = row_of(grey_tiff(VALUES, {262: 1}, compression))
    assert black_is_zero == eight_bits(VALUES, 65535)
    assert row_of(grey_tiff(VALUES, {262: 0}, compression)) == [255 - value for value in black_is_zero]


def test_a_big_endian_tiff_in_which_white_is_zero_is_inverted() -> None:
    data = encode(Image.fromarray(VALUES.astype(">u2")), "TIFF")
    assert data.startswith(b"MM")
    entry = struct.pack(">HHIHH", 262, 3, 1, 1, 0)
    assert entry in data
    inverted = data.replace(entry, struct.pack(">HHIHH", 262, 3, 1, 0, 0))
    assert row_of(inverted) == [255 - value for value in row_of(data)]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tiff_of_few_bits_in_which_white_is_zero_is_inverted(depth: int, compression: str) -> None:
    row = np.array([[0b00011011]], np.uint8)
    width = 8 // depth
    whites = {256: width, 258: depth}
    black_is_zero = row_of(grey_tiff(row, whites | {262: 1}, compression))
    n = (1 << depth) - 1
    assert black_is_zero == [255 * (0b00011011 >> 8 - depth * (i + 1) & n) // n for i in range(width)]
    assert row_of(grey_tiff(row, whites | {262: 0}, compression)) == [255 - value for value in black_is_zero]


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_a_tiff_of_twelve_bits_is_white_at_4095(white_is_zero: bool) -> None:
    values = np.arange(4096)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    size: Tags = {256: 4096, 258: 12, 262: int(not white_is_zero)}
    found = row_of(grey_tiff(packed.astype(np.uint8).reshape(1, -1), size))
    expected = eight_bits(values[None], 4095)
    assert found == ([255 - value for value in expected] if white_is_zero else expected)


def test_signed_values_are_on_the_scale_of_unsigned_ones() -> None:
    values = np.array([[0, 300, 32767]], np.int16)
    assert row_of(grey_tiff(values, {339: 2})) == eight_bits(values, 65535)


@pytest.mark.parametrize(
    "data",
    [
        grey_tiff(np.array([[0, -1]], np.int16), {339: 2}),
        grey_tiff(np.array([[0, 1]], np.int16), {339: 2, 262: 0}),
        grey_tiff(np.array([[0, 1]], np.uint32), {262: 0}),
        grey_tiff(np.array([[0.5, 1]], np.float32), {339: 3, 262: 0}),
    ],
    ids=["negative", "signed, white is zero", "32 bits, white is zero", "float, white is zero"],
)
def test_pixels_without_a_defined_white_are_unsupported(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_rgb(data)
    assert caught.value.reason == Reason.UNSUPPORTED


def test_a_tiff_without_its_photometric_tag_is_read_as_libtiff_does() -> None:
    def without_tag(data: bytes) -> bytes:
        entry = data.index(struct.pack("<HHI", 262, 4, 1))
        return data[:entry] + struct.pack("<H", 263) + data[entry + 2 :]  # an ignored tag

    grey = np.array([[0, 100, 255]], np.uint8)
    assert row_of(without_tag(grey_tiff(grey, {}))) == [0, 100, 255]
    assert row_of(without_tag(grey_tiff(VALUES, {}))) == eight_bits(VALUES, 65535)
    colour = grey_tiff(np.array([[9, 8, 7]], np.uint8), {256: 1, 258: [8, 8, 8], 277: 3})
    assert decode_rgb(without_tag(colour))[0, 0].tolist() == [9, 8, 7]
    fax = encode(Image.frombytes("1", (8, 1), b"\x0f"), "TIFF", compression="group4")
    tag = struct.pack("<HHI", 262, 3, 1)
    assert tag in fax
    assert row_of(fax.replace(tag, struct.pack("<HHI", 263, 3, 1))) == [255] * 4 + [0] * 4


CLEAR = [(10, 20, 30, 0), (40, 50, 60, 0)]
MIXED = [(10, 20, 30, 0), (40, 50, 60, 255)]
COLOURS = [[30, 20, 10], [60, 50, 40]]
MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


@pytest.mark.parametrize(
    ("header_size", "compression", "masks"),
    [
        (40, 0, b""),
        (40, 3, MASKS[:12]),
        (52, 3, MASKS[:12]),
        (56, 3, MASKS),
        (108, 3, MASKS),
        (124, 3, MASKS),
        (108, 3, bytes(16)),
        (108, 0, MASKS),
        (124, 0, MASKS),
    ],
)
def test_a_bitmap_without_any_alpha_is_opaque(header_size: int, compression: int, masks: bytes) -> None:
    data = build_bmp(header_size, compression, CLEAR, masks)
    assert decode_rgb(data)[0].tolist() == COLOURS
    assert np.array_equal(decode_rgb(strip_metadata(data)), decode_rgb(data))


@pytest.mark.parametrize("header_size", [56, 108, 124])
def test_the_alpha_of_a_bitmap_that_uses_it_counts(header_size: int) -> None:
    found = decode_rgb(build_bmp(header_size, 3, MIXED, MASKS))[0].tolist()
    assert found == [[255, 255, 255], COLOURS[1]]


def four_channels(fourth: int, tags: Tags) -> bytes:
    pixels = bytes([30, 20, 10, fourth, 60, 50, 40, 0])
    strip: Tags = {258: [8] * 4, 262: 2, 273: -1, 277: 4, 278: 1, 279: len(pixels)}
    return build_grey_tiff((2, 1), pixels, strip | tags)


@pytest.mark.parametrize("tags", [{}, {338: 0}, {338: 999}], ids=["absent", "unspecified", "Corel"])
def test_a_fourth_channel_that_a_tiff_does_not_declare_may_be_empty(tags: Tags) -> None:
    assert decode_rgb(four_channels(0, tags))[0].tolist() == COLOURS


def test_alpha_that_a_tiff_declares_counts_even_if_all_is_clear() -> None:
    assert decode_rgb(four_channels(0, {338: 2}))[0].tolist() == [[255] * 3] * 2
    assert decode_rgb(four_channels(255, {}))[0].tolist() == [COLOURS[0], [255] * 3]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_may_be_clear_everywhere(kind: str) -> None:
    clear = Image.new("RGBA", (2, 1), (1, 2, 3, 0))
    assert decode_rgb(encode(clear, kind, lossless=True)).min() == 255
