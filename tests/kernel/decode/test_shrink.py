"""Smaller copies: upright, of the right size, without metadata, and to a network the same photo."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.camera import make_camera_photos
from PIL import Image

from tests.support.photos import EXIF_TURNED, REAL, WHY_NO_REAL, encode, hostile_photos, paint
from verger.errors import DecodeError, Reason
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_image, decode_rgb
from verger.kernel.decode.shrink import shrink_photo
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import prepare_network

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=WHY_NO_REAL)

LARGE = paint(400, 300)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_photo_within_the_limit_stays_as_it_is(kind: str) -> None:
    data = encode(LARGE, kind)
    assert shrink_photo(data, 400) is data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_larger_photo_becomes_a_jpeg_of_the_longest_side_allowed(kind: str, mode: str) -> None:
    small = Image.open(io.BytesIO(shrink_photo(encode(LARGE.convert(mode), kind), 100)))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (100, 75))
    expected = np.asarray(LARGE.convert(mode).convert("RGB").resize((100, 75)), np.int64)
    assert np.abs(np.asarray(small) - expected).mean() < 5


def test_the_copy_is_upright_and_says_nothing_else() -> None:
    profile = b"a colour profile" * 20
    data = encode(LARGE, "JPEG", exif=EXIF_TURNED, comment=b"my garden", icc_profile=profile, dpi=(300, 300))
    small = shrink_photo(data, 100)
    assert decode_rgb(small).shape == (100, 75, 3)
    assert np.abs(decode_rgb(small).astype(int) - decode_rgb(data, size_px=(75, 100))).mean() < 3
    assert {"Exif", "ICC_PROFILE", "my garden"} & set(_words(data)) == {"Exif", "ICC_PROFILE", "my garden"}
    assert _words(small) == []
    assert Image.open(io.BytesIO(small)).info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def _words(data: bytes) -> list[str]:
    return [word for word in ("Exif", "ICC_PROFILE", "my garden", "http") if word.encode() in data]


def test_transparent_pixels_become_white() -> None:
    clear = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    assert decode_rgb(shrink_photo(encode(clear, "PNG"), 64)).min() >= 254


@pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000)])
def test_no_side_vanishes(size: tuple[int, int]) -> None:
    small = Image.open(io.BytesIO(shrink_photo(encode(paint(*size), "PNG"), 64)))
    assert small.size == tuple(min(side, 64) for side in size)


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (b"", {}, Reason.EMPTY),
        (b"words", {}, Reason.NOT_AN_IMAGE),
        (encode(LARGE, "JPEG")[:-2000], {}, Reason.TRUNCATED),
        (encode(paint(60, 40), "JPEG")[:-200], {}, Reason.TRUNCATED),
        (encode(LARGE, "JPEG"), {"max_pixels": 119_999}, Reason.TOO_MANY_PIXELS),
    ],
)
def test_a_photo_that_cannot_be_decoded_is_an_error(data: bytes, options: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(DecodeError) as caught:
        shrink_photo(data, 100, partial(decode_image, **options))
    assert caught.value.reason == reason


def test_every_hostile_photo_is_shrunk_or_an_error() -> None:
    for _, data in hostile_photos(300, seed=3):
        try:
            small = shrink_photo(data, 64)
        except DecodeError:
            continue
        assert max(decode_rgb(small).shape) <= 64


@needs_real
def test_a_small_copy_has_nearly_the_same_vector(tmp_path: Path) -> None:
    make_camera_photos(tmp_path, 3)
    fruitnet = Extractor(prepare_network(NetworkSpec("fruitnet")))
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        small = shrink_photo(data, 1024)
        assert len(small) < len(data) / 5
        one, other = (
            featurize_photo(each, fruitnet, max_pixels=DEFAULT_MAX_PIXELS).features for each in (data, small)
        )
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999
