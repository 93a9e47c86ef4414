from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from tests.support.chain import manifest_here, table, verger
from tests.support.networks import save_tiny_onnx
from tests.support.photos import (
    EXIF_TURNED,
    Tags,
    build_grey_tiff,
    build_png,
    encode,
    hostile_photos,
    paint,
    png_chunk,
)
from tests.support.thumbnails import thumbnails_here
from verger.errors import DecodeError, Reason
from verger.kernel.decode import decode_image, decode_rgb, photo_format, read_orientation
from verger.learn.augment.augment import AugmentOptions, write_views
from verger.privacy.metadata import strip_metadata
from verger.process.progress import SilentProgress

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

# What must not be found in a stripped file, in any of the ways that it may be written down.
NAME, SERIAL, PLACE = "Ada Person", "SN-4711", (48.0, 51.0, 29.0)
SECRETS = [NAME.encode(), NAME.encode("utf-16-le"), SERIAL.encode(), b"2026:11:22", b"exif:GPS", b"Paris"]
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>{NAME}</dc:creator><exif:GPS>Paris</exif:GPS></x:xmpmeta>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x10\x1c\x02\x50\x00\x0aAda Person\x00"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

FORMATS = ["JPEG", "progressive", "CMYK", "PNG", "palette", "grey16", "WEBP", "lossless", "GIF", "TIFF", "deflated"]


TURNED_CHUNK = png_chunk(b"eXIf", EXIF_TURNED[6:])
UPSIDE_DOWN = EXIF_TURNED[6:].replace(b"\0\x06", b"\0\x03")


def personal_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F], exif[0x0110], exif[0x0132], exif[0x013B] = "Maker", "Camera", "2026:11:22 08:00:00", NAME
    exif[0x9C9D] = NAME.encode("utf-16-le")
    exif.get_ifd(0x8769).update({0x9003: "2026:11:22 08:00:00", 0xA431: SERIAL, 0x927C: b"GPS " + SERIAL.encode()})
    exif.get_ifd(0x8825).update({1: "N", 2: PLACE, 3: "E", 4: PLACE, 29: "2026:11:22"})
    return exif


def personal_photo(kind: str, image: Image.Image, orientation: int = 1) -> bytes:
    """A photo as cameras, phones and apps write it, with much metadata."""
    exif = personal_exif(orientation)
    if kind in ("JPEG", "progressive", "CMYK"):
        picture = image.convert("CMYK") if kind == "CMYK" else image
        how = {"progressive": kind == "progressive", "icc_profile": PROFILE}
        jpeg = encode(picture, "JPEG", exif=exif, comment=NAME, xmp=XMP.encode(), **how)
        app13 = b"\xff\xed" + (len(IPTC) + 2).to_bytes(2) + IPTC
        return jpeg[:2] + app13 + jpeg[2:] + b"a film of Paris"
    if kind in ("PNG", "palette", "grey16"):
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", NAME)
        info.add_text("Comment", "Paris", zip=True)
        info.add_itxt("XML:com.adobe.xmp", XMP)
        info.add(b"tIME", b"\x07\xea\x0b\x16\x08\x00\x00")
        picture = {"palette": image.quantize(64), "grey16": image.convert("I;16")}.get(kind, image)
        return encode(picture, "PNG", exif=exif, pnginfo=info, icc_profile=PROFILE) + b"a film of Paris"
    if kind in ("WEBP", "lossless"):
        options = {"exif": exif, "xmp": XMP.encode(), "icc_profile": PROFILE}
        return encode(image, "WEBP", lossless=kind == "lossless", **options)
    if kind == "GIF":
        frames = {"save_all": True, "append_images": [image.rotate(90)], "loop": 0}
        return encode(image, "GIF", comment=NAME, xmp=XMP.encode(), **frames) + b"a film of Paris"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in exif.items():
        tags[tag] = value
    tags[700], tags[33723], tags[270] = XMP.encode(), IPTC, f"Paris by {NAME}"
    if kind == "deflated":  # by libtiff, which writes no directories into directories
        return encode(image, "TIFF", tiffinfo=tags, compression="tiff_adobe_deflate", icc_profile=PROFILE)
    tags[0x8769], tags[0x8825] = dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825))
    return encode(image, "TIFF", tiffinfo=tags, icc_profile=PROFILE)


def exif_of(data: bytes) -> dict[int, Any]:
    """All EXIF that Pillow finds."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        exif = image.getexif()
        assert not [*exif.get_ifd(0x8769), *exif.get_ifd(0x8825)]
    return dict(exif)


def test_the_photos_of_these_tests_are_personal() -> None:
    for kind in FORMATS:
        data = personal_photo(kind, paint(40, 30), 6)
        assert any(secret in data for secret in SECRETS), kind
        if kind not in ("GIF", "deflated"):
            with Image.open(io.BytesIO(data)) as image:
                assert image.getexif().get_ifd(0x8825)[1] == "N", kind


@pytest.mark.parametrize("kind", FORMATS)
@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_pixels_and_orientation_are_kept_and_nothing_else(
    kind: str, size: tuple[int, int], orientation: int, seed: int
) -> None:
    data = personal_photo(kind, paint(*size, seed), orientation)
    stripped = strip_metadata(data)
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
    assert not [secret for secret in SECRETS if secret in stripped]
    assert set(exif_of(stripped)) <= {0x0112}
    if kind not in ("GIF", "TIFF", "deflated"):  # a TIFF becomes a PNG that is upright
        assert exif_of(stripped) == ({0x0112: orientation} if orientation > 1 else {})
    assert strip_metadata(stripped) is stripped, "there is nothing left to take out"


@pytest.mark.parametrize("kind", ["JPEG", "CMYK", "PNG", "WEBP", "TIFF"])
def test_the_colour_profile_is_kept(kind: str) -> None:
    with Image.open(io.BytesIO(strip_metadata(personal_photo(kind, paint(20, 20))))) as image:
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_still_move(kind: str) -> None:
    moving = encode(paint(20, 20), kind, save_all=True, append_images=[paint(20, 20, 1)], duration=70, loop=0)
    with Image.open(io.BytesIO(strip_metadata(moving))) as image:
        image.seek(1)
        assert image.load() is not None and image.info["duration"] == 70


def test_a_photo_without_metadata_is_passed_on_as_it_is() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        data = encode(paint(20, 20), kind)
        assert strip_metadata(data) is data, kind


def test_metadata_in_unusual_places_is_removed() -> None:
    jpeg = encode(paint(20, 20), "JPEG")
    in_jfif = b"\xff\xe0\x00\x1cJFIF\0\x01\x01\0\0\x01\0\x01\x02\x02" + (NAME.encode() + b"xx")
    between_scans = encode(paint(20, 20), "JPEG", progressive=True)
    at = between_scans.index(b"\xff\xda") + 20
    at = between_scans.index(b"\xff\xc4", at)
    note = b"\xff\xfe" + (2 + len(NAME)).to_bytes(2) + NAME.encode()
    for data in (
        jpeg[:2] + in_jfif + jpeg[20:],
        between_scans[:at] + note + between_scans[at:],
        jpeg + jpeg[:2] + note + jpeg[2:],  # a second picture
        jpeg[:2] + note * 3 + b"\xff\xff" + jpeg[2:],
        build_png((1, 1), 8, 0, b"\0\x80", after=png_chunk(b"eXIf", personal_exif().tobytes()[6:])),
    ):
        assert NAME.encode() in data
        assert NAME.encode() not in strip_metadata(data)
        assert np.array_equal(decode_rgb(strip_metadata(data)), decode_rgb(data))


@pytest.mark.parametrize(
    "turned",
    [
        encode(paint(30, 20), "JPEG", xmp=b'<x tiff:Orientation="6" dc:creator="Ada Person"/>'),
        build_png((2, 1), 8, 0, b"\0\x80\x10", after=TURNED_CHUNK),
        build_png((2, 1), 8, 0, b"\0\x80\x10", before=TURNED_CHUNK, after=png_chunk(b"tEXt", b"a\0b")[:-1] + b"?"),
        build_png((2, 1), 8, 0, b"\0\x80\x10", before=png_chunk(b"eXIf", UPSIDE_DOWN), after=TURNED_CHUNK),
        encode(paint(30, 20), "WEBP", exif=EXIF_TURNED),
    ],
    ids=[
        *("JPEG by XMP", "PNG behind its pixels", "PNG with a broken note", "PNG that says it twice", "WEBP"),
    ],
)
def test_the_orientation_is_kept_wherever_it_is_stored(turned: bytes) -> None:
    stripped = strip_metadata(turned)
    assert read_orientation(stripped) == 6
    assert np.array_equal(decode_rgb(stripped), decode_rgb(turned))


def test_an_orientation_behind_a_second_frame_is_ignored() -> None:
    moving = encode(paint(30, 20), "PNG", save_all=True, append_images=[paint(30, 20, 1)])
    turned = moving[:-12] + TURNED_CHUNK + moving[-12:]
    assert np.array_equal(decode_rgb(strip_metadata(turned)), decode_rgb(turned))


def test_a_jpeg_that_ends_in_a_comment_is_stripped() -> None:
    stripped = strip_metadata(encode(paint(20, 20), "JPEG", comment=NAME)[:-2] + b"\xff\xfe\0")
    assert stripped.endswith(b"\xff\xfe\0") and NAME.encode() not in stripped


def personal_jpeg() -> bytes:
    """A JPEG of 30 x 20 as it lies in other files."""
    return personal_photo("JPEG", paint(30, 20)).removesuffix(b"a film of Paris")


def two_pages() -> bytes:
    pages = TiffImagePlugin.AppendingTiffWriter(target := io.BytesIO(), True)
    for page, note in ((paint(30, 20), "a basket"), (Image.frombytes("L", (10, 1), NAME.encode()), "a name")):
        page.save(pages, "TIFF", tiffinfo={270: note})
        pages.newFrame()
    return target.getvalue()


def tiff_of_sixteen_bits() -> bytes:
    grey = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    return encode(Image.fromarray(grey), "TIFF", tiffinfo={270: NAME, 274: 6})


def transparent() -> Image.Image:
    image = paint(30, 20).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((30, 20)))
    return image


JPEG_STRIP: Tags = {258: [8, 8, 8], 259: 7, 262: 6, 273: -1, 277: 3, 278: 20, 279: len(personal_jpeg())}

REENCODED = {
    "a TIFF with a second page": two_pages(),
    "a TIFF with a name behind it": encode(paint(20, 20), "TIFF") + NAME.encode(),
    "a TIFF with a JPEG as its strip": build_grey_tiff((30, 20), personal_jpeg(), JPEG_STRIP),
    "a TIFF of 16 bits, turned": tiff_of_sixteen_bits(),
    "a TIFF in CMYK": encode(paint(30, 20).convert("CMYK"), "TIFF", tiffinfo={270: NAME}),
    "a TIFF with alpha": encode(transparent(), "TIFF", tiffinfo={270: NAME}),
    "a TIFF with a palette": encode(paint(30, 20).quantize(16), "TIFF", tiffinfo={270: NAME}),
    "a BigTIFF turned by XMP": encode(
        paint(30, 20), "TIFF", big_tiff=True, tiffinfo={270: NAME, 700: b'<x tiff:Orientation="6"/>'}
    ),
    "a bitmap with a name behind it": encode(paint(30, 20), "BMP") + NAME.encode(),
    "a bitmap with a palette": encode(paint(30, 20).quantize(16), "BMP") + NAME.encode(),
    "a plain TIFF": encode(paint(20, 20), "TIFF"),
    "a plain bitmap": encode(paint(20, 20), "BMP"),
}


@pytest.mark.parametrize("data", REENCODED.values(), ids=REENCODED)
def test_tiff_and_bmp_become_png_with_the_same_pixels(data: bytes) -> None:
    stripped = strip_metadata(data)
    assert photo_format(stripped) == "PNG"
    before, after = decode_image(data), decode_image(stripped)
    assert np.array_equal(np.asarray(before.image), np.asarray(after.image))
    assert (before.width, before.height) == (after.width, after.height)
    assert not [secret for secret in SECRETS if secret in stripped]
    assert strip_metadata(stripped) is stripped


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("CMYK", PROFILE.replace(b"RGB ", b"CMYK", 1)), ("RGB", PROFILE + bytes(2_000_000)), ("RGB", b"no profile")],
)
def test_a_profile_that_a_png_cannot_have_is_left_out(mode: str, profile: bytes) -> None:
    data = encode(paint(20, 20).convert(mode), "TIFF", icc_profile=profile)
    stripped = strip_metadata(data)
    assert b"iCCP" not in stripped
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))


def test_a_tiff_that_cannot_be_decoded_is_refused() -> None:
    for data in (encode(paint(20, 20), "TIFF")[:-2000], encode(Image.new("F", (9, 9)), "TIFF")):
        with pytest.raises(DecodeError):
            strip_metadata(data)


def test_files_that_are_no_photos_are_refused() -> None:
    for data in (b"", b"words", b"\0\0\0\x18ftypheic" + NAME.encode(), b"II*\0\xff\xff\xff\xff", b"GIF89a"):
        with pytest.raises(DecodeError):
            strip_metadata(data)
    with pytest.raises(DecodeError) as refused:
        strip_metadata(personal_photo("WEBP", paint(40, 40)), max_pixels=100)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS, "its orientation could not be read"


def test_hostile_files_are_stripped_or_refused_and_no_pixel_changes() -> None:
    outcomes = Counter(_outcome(data) for _, data in hostile_photos(2000, seed=7))
    assert outcomes["other pixels"] == 0
    assert outcomes["lost"] <= 2 < 400 < outcomes["same pixels"], outcomes


def _outcome(data: bytes) -> str:
    try:
        before = decode_rgb(data, max_pixels=4_000_000)
    except DecodeError:
        before = None
    try:
        stripped = strip_metadata(data, max_pixels=4_000_000)
        after = decode_rgb(stripped, max_pixels=4_000_000)
    except DecodeError:
        after = None
    if before is None or after is None:
        return "broken" if before is None else "lost"
    return "same pixels" if np.array_equal(before, after) else "other pixels"


def _exiftool() -> list[str]:
    """Debian's libimage-exiftool-perl, or what EXIFTOOL names; it knows more places than Pillow."""
    return (os.environ.get("EXIFTOOL") or shutil.which("exiftool") or "").split()


@pytest.mark.skipif(not _exiftool(), reason="needs exiftool (Debian: libimage-exiftool-perl)")
def test_exiftool_finds_nothing_either(tmp_path: Path) -> None:
    for kind in FORMATS:
        data = personal_photo(kind, paint(40, 30), 6)
        (tmp_path / f"before-{kind}").write_bytes(data)
        (tmp_path / f"after-{kind}").write_bytes(strip_metadata(data))
    command = [*_exiftool(), "-j", "-G0", "-ee", "-a", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, check=True)
    found = {Path(file["SourceFile"]).name: file for file in json.loads(done.stdout)}
    for kind in FORMATS:
        personal = ("XMP:", "IPTC:", "Photoshop:", "MakerNotes:", "Trailer:")
        assert NAME in str(found[f"before-{kind}"]), kind
        assert not [key for key in found[f"after-{kind}"] if key.startswith(personal)], kind
        layout = ("Orientation", "ExifByteOrder")
        exif = [key for key in found[f"after-{kind}"] if key.startswith("EXIF:") and not key.endswith(layout)]
        assert not exif, kind
        outside = ("SourceFile", "File:File", "ICC_Profile:")
        rest = [str(value) for key, value in found[f"after-{kind}"].items() if not key.startswith(outside)]
        assert not [value for value in rest if NAME in value or "2026" in value]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i, kind in enumerate(FORMATS):
        name = {"CMYK": "jpg", "JPEG": "jpg", "progressive": "jpg", "WEBP": "webp", "GIF": "gif"}.get(kind, "png")
        (folder / "kiwi").mkdir(parents=True, exist_ok=True)
        (folder / "kiwi" / f"{i}.{name}").write_bytes(personal_photo(kind, paint(40, 30, i), i % 8 + 1))
    (folder / "kiwi" / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + NAME.encode())
    (folder / "kiwi" / "plain.jpg").write_bytes(encode(paint(20, 20), "JPEG"))
    return folder


def test_packed_photos_are_without_metadata_and_give_the_same_features(photos: Path, tmp_path: Path) -> None:
    save_tiny_onnx(tmp_path / "tiny.onnx")
    manifest = manifest_here("pack", photos, "packed", cwd=tmp_path)
    assert manifest["counts"]["metadata"] == {"removed": len(FORMATS), "set-aside": 1, "none": 1}
    shards = b"".join(file.read_bytes() for file in (tmp_path / "packed" / "images").glob("*.parquet"))
    assert not [secret for secret in SECRETS if secret in shards]
    for src, out in (("packed", "a"), (photos, "b")):
        manifest_here("features", src, out, "--model", "tiny.onnx", "--no-report", cwd=tmp_path)
    features = [table(tmp_path / out / "features") for out in ("a", "b")]
    assert features[0].drop_columns(["sha256"]).equals(features[1].drop_columns(["sha256"]))
    same = np.array(features[0]["sha256"]) == np.array(features[1]["sha256"])
    assert same.sum() == 1, "the hash is of the bytes that were read"
    rejected = [table(tmp_path / out / "rejected") for out in ("a", "b")]
    assert rejected[0].equals(rejected[1]), "for the same reason"
    assert rejected[0]["path"].to_pylist()[0].endswith("phone.jpg")


def test_metadata_are_kept_on_request(photos: Path, tmp_path: Path) -> None:
    manifest = manifest_here("pack", photos, "packed", "--keep-metadata", cwd=tmp_path)
    assert "metadata" not in manifest["counts"]
    packed = pq.read_table(tmp_path / "packed" / "images").to_pylist()
    assert {row["content"] for row in packed} == {file.read_bytes() for file in photos.rglob("*.*")}


def test_packing_says_what_it_has_set_aside(photos: Path, tmp_path: Path) -> None:
    output = verger("pack", photos, "packed", cwd=tmp_path).stdout
    assert "removed 11" in output and "the metadata of 1 files" in output and "--keep-metadata" in output


def test_neither_views_nor_thumbnails_hold_metadata(photos: Path, tmp_path: Path) -> None:
    write_views(str(photos), tmp_path / "views", AugmentOptions(per_photo=1, size_px=32), SilentProgress())
    views = [file.read_bytes() for file in (tmp_path / "views").rglob("*.jpg")]
    thumbnails = thumbnails_here([str(file) for file in photos.rglob("*.*")])
    pictures = [base64.b64decode(uri.partition(",")[2]) for uri in thumbnails if uri]
    assert len(views) == 2 * len(pictures) == 2 * (len(FORMATS) + 1)
    for data in views + pictures:
        assert strip_metadata(data) is data
        assert not exif_of(data)
