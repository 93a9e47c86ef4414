"""Photos with damage beside their pixels: read, if all pixels are there; docs/photos.md lists them."""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.support.photos import EXIF_TURNED, build_png, claim_size, encode, paint, png_chunk, repeat_last_scan
from verger.errors import DecodeError, Reason
from verger.kernel.decode import decode_image, decode_rgb, read_orientation
from verger.privacy.metadata import strip_metadata

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

PICTURE = paint(200, 150)
JPEGS = {
    "baseline": encode(PICTURE, "JPEG"),
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "optimized": encode(PICTURE, "JPEG", optimize=True),
    "4:4:4": encode(PICTURE, "JPEG", subsampling=0, quality=100),
    "restarts": encode(PICTURE, "JPEG", restart_marker_rows=1),
    "many restarts": encode(PICTURE, "JPEG", restart_marker_blocks=1),
    "grey": encode(PICTURE.convert("L"), "JPEG"),
    "CMYK": encode(PICTURE.convert("CMYK"), "JPEG"),
    "turned": encode(PICTURE, "JPEG", exif=EXIF_TURNED),
    "odd size": encode(paint(17, 33), "JPEG"),
    "white": encode(Image.new("RGB", (200, 150), "white"), "JPEG"),
}
END = b"\xff\xd9"


def reason_of(data: bytes) -> Reason | None:
    try:
        decode_rgb(data)
    except DecodeError as error:
        return error.reason
    return None


def as_stripped(data: bytes) -> bytes:
    """The photo as `verger pack` writes it."""
    return strip_metadata(data)


# JPEG.


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("rest", [b"", b"\xff", bytes(1), bytes(100_000)], ids=["none", "half", "zero", "zeros"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(name: str, rest: bytes) -> None:
    data = JPEGS[name]
    assert data.endswith(END)
    for shortened in (data[:-2] + rest, as_stripped(data[:-2] + rest)):
        assert np.array_equal(decode_rgb(shortened), decode_rgb(data))
        scaled = decode_image(shortened, min_size_px=(40, 30)).image
        assert scaled.tobytes() == decode_image(data, min_size_px=(40, 30)).image.tobytes()


def test_a_jpeg_whose_data_end_with_any_bits_is_read_without_its_end_marker() -> None:
    """Zeros too: the last blocks of a picture with little colour are written as zeros."""
    last_bytes = set()
    for seed in range(150):
        grey = paint(40 + seed % 16, 40 + seed // 16, seed).convert("L")
        data = encode(grey.convert("RGB"), "JPEG", subsampling=0 if seed % 2 else 2, optimize=seed % 3 == 0)
        last_bytes.add(data[-3])
        assert np.array_equal(decode_rgb(data[:-2]), decode_rgb(data)), seed
        if data[-3]:  # otherwise no one knows where the data end
            assert np.array_equal(decode_rgb(data[:-2] + bytes(5000)), decode_rgb(data)), seed
    assert 0 in last_bytes and len(last_bytes) > 8


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("rest", [b"garbage", bytes(5000), b"\xff" * 100, JPEGS["baseline"], b"\xff\xd8\xff"])
def test_bytes_behind_the_end_of_a_jpeg_are_ignored(name: str, rest: bytes) -> None:
    assert np.array_equal(decode_rgb(JPEGS[name] + rest), decode_rgb(JPEGS[name]))


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("rest", [b"", bytes(100_000)], ids=["cut", "filled up"])
def test_a_jpeg_from_which_a_part_of_the_picture_is_missing_is_truncated(name: str, rest: bytes) -> None:
    data = JPEGS[name]
    start = data.index(b"\xff\xda") + 14
    edges = [place for found in re.finditer(rb"\xff[\xc4\xda\xd0-\xd7]", data) for place in found.span()]
    for end in {
        *range(start, len(data) - 12, max(1, len(data) // 25)),
        *range(len(data) - 12, len(data) - 4),
        *edges,
    }:
        reason = reason_of(data[:end] + rest)
        assert reason == Reason.TRUNCATED or (rest and reason == Reason.CORRUPT), end


def test_a_progressive_jpeg_without_its_last_scans_is_truncated() -> None:
    data = JPEGS["progressive"]
    scans = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    assert len(scans) > 5
    for start in scans[1:]:
        tables = data.rindex(b"\xff\xc4", 0, start) if b"\xff\xc4" in data[start - 60 : start] else start
        assert reason_of(data[:tables]) == Reason.TRUNCATED
        assert reason_of(data[:tables] + END) is None, "complete by its own words: as other programs show it"


@pytest.mark.parametrize("name", ["baseline", "progressive", "turned", "grey"])
@pytest.mark.parametrize("end", [END, b""])
@pytest.mark.parametrize(
    "segment",
    [b"\xff\xe0\0\x07JFIF\0", b"\xff\xe2\0\x0eICC_PROFILE\0", b"\xff\xee\0\x07Adobe", b"\xff\xe0\0\x09JFIF\0\1\1"],
)
def test_a_short_segment_that_decoders_ignore_is_left_out(name: str, end: bytes, segment: bytes) -> None:
    data = JPEGS[name]
    broken = data[:2] + segment + data[2:-2] + end
    for one in (broken, as_stripped(broken)):
        assert np.array_equal(decode_rgb(one), decode_rgb(data))
    assert read_orientation(broken) == read_orientation(data)


def test_limits_hold_for_a_jpeg_without_its_end_marker() -> None:
    assert reason_of(claim_size(JPEGS["baseline"], 20_000, 20_000)[:-2]) == Reason.TOO_MANY_PIXELS
    assert reason_of(repeat_last_scan(JPEGS["progressive"], 5000)[:-2]) in (Reason.UNSUPPORTED, Reason.TRUNCATED)


# PNG.

PIXELS = b"".join(b"\0" + bytes([10 * row, 20 * row, 250 - row] * 3) for row in range(3))
TOO_MUCH = zlib.compress(bytes(3_000_000))


def png(*, before: bytes = b"", after: bytes = b"") -> bytes:
    return build_png((3, 3), 8, 2, PIXELS, before=before, after=after)


def spoil(chunk: bytes) -> bytes:
    """The chunk with a wrong checksum."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


CHUNKS = {
    "a large profile": png_chunk(b"iCCP", b"name\0\0" + TOO_MUCH),
    "a profile of an unknown compression": png_chunk(b"iCCP", b"name\0\7" + TOO_MUCH),
    "a large compressed text": png_chunk(b"zTXt", b"Comment\0\0" + TOO_MUCH),
    "a large international text": png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + TOO_MUCH),
    "a text of an unknown compression": png_chunk(b"zTXt", b"Comment\0\7" + TOO_MUCH),
    "too many texts": png_chunk(b"tEXt", b"Comment\0" + bytes(990_000)) * 70,
    "a text with a wrong checksum": spoil(png_chunk(b"tEXt", b"Comment\0good morning")),
    "a gamma with a wrong checksum": spoil(png_chunk(b"gAMA", bytes(4))),
    "a short gamma": png_chunk(b"gAMA", b"\0"),
    "a short resolution": png_chunk(b"pHYs", b"\0"),
    "a short chromaticity": png_chunk(b"cHRM", b"\0"),
    "an empty colour space": png_chunk(b"sRGB", b""),
    "transparency with a wrong checksum": spoil(png_chunk(b"tRNS", bytes([0, 0, 0, 0, 0, 250]))),
    "short transparency": png_chunk(b"tRNS", b"\0"),
    "an unknown chunk with a wrong checksum": spoil(png_chunk(b"prIv", b"secret")),
    "an animation of frames without order": png_chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 0]))
    + png_chunk(b"fcTL", bytes([0, 0, 0, 9]) + bytes(22)),
    "a short animation": png_chunk(b"acTL", b"\0"),
}


# Pillow does not check checksums behind the pixels; there is no transparency there.
@pytest.mark.parametrize(
    ("name", "place"), [(name, "before") for name in CHUNKS] + [(n, "after") for n in CHUNKS if "transpar" not in n]
)
def test_a_png_is_read_without_its_broken_chunks(name: str, place: str) -> None:
    data = png(**{place: CHUNKS[name]})
    assert np.array_equal(decode_rgb(data), decode_rgb(png()))
    stripped = as_stripped(data)
    assert np.array_equal(decode_rgb(stripped), decode_rgb(png()))


@pytest.mark.parametrize("name", [name for name in CHUNKS if "transparency" not in name])
def test_what_the_pixels_need_is_kept(name: str) -> None:
    exif = png_chunk(b"eXIf", EXIF_TURNED[6:])
    clear = png_chunk(b"tRNS", bytes([0, 0, 0, 0, 0, 250]))
    for data in (png(before=clear + exif + CHUNKS[name]), png(before=clear + CHUNKS[name], after=exif)):
        found = decode_rgb(data)
        assert read_orientation(data) == 6
        assert np.array_equal(found, decode_rgb(png(before=clear + exif)))
        assert found[0, 2].tolist() == [255, 255, 255], "the first row is clear, and its right end is up"
        assert np.array_equal(decode_rgb(as_stripped(data)), found)


@pytest.mark.parametrize("profile", [b"RGB profile" * 200_000, bytes(2_000_000)])
def test_a_png_with_the_large_profile_of_a_printer_is_read(profile: bytes) -> None:
    data = encode(PICTURE, "PNG", icc_profile=profile)
    assert np.array_equal(decode_rgb(data), np.asarray(PICTURE))


def test_text_as_large_as_the_picture_is_left_out() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "node " * 400_000, zip=True)
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    data = encode(PICTURE, "PNG", pnginfo=info)
    assert decode_rgb(data).shape == (200, 150, 3)
    assert read_orientation(data) == 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png().replace(b"IHDR\0\0\0\3", b"IHDR\0\0\0\2"), Reason.CORRUPT),
        (build_png((2, 1), 8, 3, b"\0\0\1", before=spoil(png_chunk(b"PLTE", bytes(6)))), Reason.CORRUPT),
        (encode(PICTURE, "PNG", icc_profile=bytes(2_000_000))[:-20_000], Reason.TRUNCATED),
        (claim_size(png(before=CHUNKS["a large profile"]), 20_000, 20_000), Reason.TOO_MANY_PIXELS),
    ],
    ids=["header", "palette", "pixels", "bomb"],
)
def test_a_png_with_damaged_pixels_is_rejected(data: bytes, reason: Reason) -> None:
    assert reason_of(data) == reason


def test_a_million_chunks_are_not_all_examined() -> None:
    data = png(before=png_chunk(b"tEXt", b"a\0b") * 200_000 + CHUNKS["a large profile"])
    assert np.array_equal(decode_rgb(data), decode_rgb(png()))


def test_the_error_is_that_of_the_pixels() -> None:
    with pytest.raises(DecodeError, match=r"truncated: .*image file is truncated"):
        decode_rgb(encode(PICTURE, "PNG", icc_profile=bytes(2_000_000))[:-20_000])


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP"])
def test_other_formats_are_as_they_are(kind: str) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encode(PICTURE, kind, **options)
    assert reason_of(data[: len(data) // 2]) == Reason.TRUNCATED
