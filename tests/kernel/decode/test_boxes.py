"""AVIF, and HEIC with the extra verger[heic]: pictures in ISO boxes. The HEIC files were made by pillow-heif."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.chain import manifest_here, table
from tests.support.photos import EXIF_TURNED, HEIC, claim_size, encode, paint
from verger import photo_names
from verger.errors import DecodeError, Reason, SetupError, SourceError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_image, decode_rgb, photo_format, read_orientation
from verger.privacy.metadata import strip_metadata
from verger.sources.partitions import Selection, list_photo_files
from verger.tasks.child_decoder import open_photo_tools

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

needs_heic = pytest.mark.skipif(not photo_names.HAS_HEIC, reason="needs pi-heif, which `make setup` installs")
PICTURE = paint(60, 40)
PHOTOS = {path.stem: path.read_bytes() for path in sorted(HEIC.glob("*.heic"))}
KINDS = ["AVIF", pytest.param("HEIF", marks=needs_heic)]


def photo(kind: str) -> bytes:
    return PHOTOS["plain"] if kind == "HEIF" else encode(PICTURE, "AVIF")


def mean_difference(data: bytes, picture: Image.Image) -> float:
    return float(np.abs(decode_rgb(data).astype(int) - np.asarray(picture)).mean())


def error_of(data: bytes, max_pixels: int = 50_000_000) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_rgb(data, max_pixels=max_pixels)
    return caught.value


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"\0\0\0\x20ftypavis\0\0\0\0avismsf1", "AVIF"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1miafavif", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", "HEIF"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", None),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", None),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", None),
    ],
)
def test_the_brand_decides_the_format(start: bytes, kind: str | None) -> None:
    assert photo_format(start + bytes(100)) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_its_picture(kind: str) -> None:
    assert photo_format(photo(kind)) == kind
    assert mean_difference(photo(kind), PICTURE) < 6
    assert decode_image(photo(kind)).image.mode == "RGB"


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_on_pixels_is_exact_and_holds_before_decoding(kind: str) -> None:
    assert decode_rgb(photo(kind), max_pixels=2400).shape == (40, 60, 3)
    assert error_of(photo(kind), max_pixels=2399).reason == Reason.TOO_MANY_PIXELS
    for side in (8000, 20_000, 70_000):
        assert error_of(claim_size(photo(kind), side, side)).reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_photo_is_truncated(kind: str) -> None:
    data = photo(kind)
    assert {error_of(data[:end]).reason for end in range(24, len(data))} == {Reason.TRUNCATED}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_photo_is_corrupt(kind: str) -> None:
    data = photo(kind)
    assert error_of(data.replace(b"meta", b"mata")).reason == Reason.CORRUPT


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_upright(orientation: int) -> None:
    exif = EXIF_TURNED.replace(b"\0\x06\0\0", b"\0" + bytes([orientation]) + b"\0\0")
    data = encode(PICTURE, "AVIF", exif=exif)
    assert read_orientation(data) == (orientation if orientation > 1 else None)
    assert decode_rgb(data).shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))


def test_a_pillow_without_avif_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = photo("AVIF")
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    assert error_of(data).reason == Reason.UNSUPPORTED


def test_an_avif_with_alpha_or_frames() -> None:
    clear = PICTURE.convert("RGBA")
    clear.putalpha(0)
    assert decode_rgb(encode(clear, "AVIF")).min() == 255
    moving = encode(PICTURE, "AVIF", save_all=True, append_images=[paint(60, 40, 1)] * 2)
    assert mean_difference(moving, PICTURE) < 6


@needs_heic
def test_a_heic_is_upright_and_of_eight_bits() -> None:
    assert mean_difference(PHOTOS["turned"], PICTURE) < 6
    assert read_orientation(PHOTOS["turned"]) is None
    assert mean_difference(PHOTOS["ten-bits"], PICTURE) < 6
    first, last = decode_rgb(PHOTOS["alpha"])[[0, -1]].astype(int)
    assert first.min() > 245 and np.abs(last - np.asarray(PICTURE)[-1]).mean() < 12


@needs_heic
def test_damaged_metadata_of_a_heic_do_no_harm() -> None:
    """pi-heif's own reader crashes here: the type of the XMP is not UTF-8."""
    data = PHOTOS["turned"]
    damaged = data.replace(b"rdf+xml", b"rdf+\xf8ml")
    assert damaged != data
    assert np.array_equal(decode_rgb(damaged), decode_rgb(data))


@needs_heic
@pytest.mark.parametrize("in_child", [False, True])
def test_a_pi_heif_that_does_not_fit_is_named_and_rejects_no_photo(
    in_child: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "def load_file(content, *, threads=1): raise AssertionError"
    (tmp_path / "_pi_heif.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delitem(sys.modules, "_pi_heif", raising=False)
    with (
        open_photo_tools(DEFAULT_MAX_PIXELS, in_child=in_child, photo_timeout_s=None) as tools,
        pytest.raises(SetupError, match=r"pi-heif \d.* does not fit verger.*TypeError.*pip install 'pi-heif>="),
    ):
        tools.decode(PHOTOS["plain"])
    with pytest.raises(SetupError):
        read_orientation(PHOTOS["plain"])


@pytest.mark.parametrize("kind", KINDS)
def test_packing_keeps_the_pixels_and_no_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Ada Person"
    data = PHOTOS["turned"] if kind == "HEIF" else encode(PICTURE, "AVIF", exif=exif, xmp=b"<x>Paris</x>")
    assert b"Ada Person" in data and b"Paris" in data
    stripped = strip_metadata(data)
    assert photo_format(stripped) == "PNG"
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
    assert b"Ada Person" not in stripped and b"Paris" not in stripped
    with pytest.raises(DecodeError):
        strip_metadata(data[:-100])


def fill(folder: Path) -> None:
    folder.mkdir()
    for suffix in (".jfif", ".jpe", ".JPE"):
        (folder / f"a{suffix}").write_bytes(encode(PICTURE, "JPEG"))
    (folder / "a.avif").write_bytes(encode(PICTURE, "AVIF"))
    for name, data in PHOTOS.items():
        (folder / f"{name}.HEIC").write_bytes(data)


@needs_heic
def test_all_suffixes_are_photos(tiny_model: str, tmp_path: Path) -> None:
    fill(tmp_path / "photos")
    words = ("photos", "out", "--model", tiny_model, "--no-report")
    found = manifest_here("features", *words, cwd=tmp_path)
    assert found["counts"]["features"] == 8 and not found["skipped_files"]
    manifest_here("pack", "photos", "packed", cwd=tmp_path)
    again = manifest_here("features", "packed", "again", *words[2:], cwd=tmp_path)
    assert again["counts"]["features"] == 8
    features = [table(tmp_path / out / "features").select(["path", "features"]) for out in ("out", "again")]
    assert features[0].equals(features[1])


@pytest.fixture
def _no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_pi_heif", None)
    monkeypatch.setattr(photo_names, "HAS_HEIC", False)


@pytest.mark.usefixtures("_no_extra")
def test_without_the_extra_a_heic_says_what_to_install() -> None:
    error = error_of(PHOTOS["plain"])
    assert str(error) == "unsupported: HEIC photos need pi-heif: pip install 'verger[heic]'"
    with pytest.raises(DecodeError, match=r"verger\[heic\]"):
        strip_metadata(PHOTOS["plain"])


@pytest.mark.usefixtures("_no_extra")
def test_without_the_extra_the_listing_says_what_to_install(tmp_path: Path) -> None:
    fill(tmp_path / "photos")
    selection = Selection(glob=("*.jpg", "*.avif"))
    skipped = list_photo_files(str(tmp_path / "photos"), selection, tmp_path / "listing").skipped
    assert skipped == {".heic": 4, ".jpe": 2, ".jfif": 1}
    assert photo_names.heic_advice(skipped) == "4 skipped: HEIC photos need pi-heif: pip install 'verger[heic]'"
    with pytest.raises(SourceError, match=r"4 \.heic.*; 4 skipped: HEIC photos need pi-heif: pip install"):
        list_photo_files(str(tmp_path / "photos"), Selection(glob=("*.png",)), tmp_path / "nothing")


def test_with_the_extra_or_without_heic_there_is_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_names, "HAS_HEIC", True)
    assert photo_names.heic_advice({".heic": 4}) is None
    monkeypatch.setattr(photo_names, "HAS_HEIC", False)
    assert photo_names.heic_advice({".txt": 4}) is None
