from __future__ import annotations

import base64
import io
import json
import os
import shutil
import struct
import subprocess
import time
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
from verger.kernel.decode import decode_rgb, read_orientation
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
    """A photo as cameras, phones and apps write it: the more they tell, the better."""
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
    """All EXIF that Pillow finds, but how the pixels of a TIFF are laid out."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        exif = image.getexif()
        inner = [*exif.get_ifd(0x8769), *exif.get_ifd(0x8825)]
        layout = set() if image.format != "TIFF" else {*range(254, 340), 34675} - {270, 271, 272, 305, 306, 315}
    assert not inner
    return {tag: value for tag, value in exif.items() if tag not in layout}


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
def test_pixels_and_their_way_up_stay_and_nothing_else(
    kind: str, size: tuple[int, int], orientation: int, seed: int
) -> None:
    data = personal_photo(kind, paint(*size, seed), orientation)
    stripped = strip_metadata(data)
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
    assert not [secret for secret in SECRETS if secret in stripped]
    assert set(exif_of(stripped)) <= {0x0112}
    if kind not in ("GIF", "TIFF", "deflated"):  # a TIFF's is a part of its layout
        assert exif_of(stripped) == ({0x0112: orientation} if orientation > 1 else {})
    assert strip_metadata(stripped) is stripped, "there is nothing left to take out"


@pytest.mark.parametrize("kind", ["JPEG", "CMYK", "PNG", "WEBP", "TIFF"])
def test_colours_are_meant_as_before(kind: str) -> None:
    with Image.open(io.BytesIO(strip_metadata(personal_photo(kind, paint(20, 20))))) as image:
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_still_move(kind: str) -> None:
    moving = encode(paint(20, 20), kind, save_all=True, append_images=[paint(20, 20, 1)], duration=70, loop=0)
    with Image.open(io.BytesIO(strip_metadata(moving))) as image:
        image.seek(1)
        assert image.load() is not None and image.info["duration"] == 70


def test_a_photo_without_metadata_is_passed_on_as_it_is() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        data = encode(paint(20, 20), kind)
        assert strip_metadata(data) is data, kind


def test_what_hides_in_strange_places_goes_too() -> None:
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
        encode(paint(30, 20), "TIFF", tiffinfo={700: b'<x tiff:Orientation="6" dc:creator="Ada Person"/>'}),
        encode(paint(30, 20), "TIFF", big_tiff=True, tiffinfo={700: b'<x tiff:Orientation="6"/>'}),
    ],
    ids=[
        *("JPEG by XMP", "PNG behind its pixels", "PNG with a broken note", "PNG that says it twice", "WEBP"),
        *("TIFF by XMP", "BigTIFF by XMP"),
    ],
)
def test_the_way_up_is_kept_wherever_it_was_told(turned: bytes) -> None:
    stripped = strip_metadata(turned)
    assert read_orientation(stripped) == 6
    assert np.array_equal(decode_rgb(stripped), decode_rgb(turned))


def test_what_stands_behind_a_second_frame_turns_no_picture() -> None:
    moving = encode(paint(30, 20), "PNG", save_all=True, append_images=[paint(30, 20, 1)])
    turned = moving[:-12] + TURNED_CHUNK + moving[-12:]
    assert np.array_equal(decode_rgb(strip_metadata(turned)), decode_rgb(turned))


def test_a_jpeg_that_ends_in_a_note_is_taken_apart() -> None:
    stripped = strip_metadata(encode(paint(20, 20), "JPEG", comment=NAME)[:-2] + b"\xff\xfe\0")
    assert stripped.endswith(b"\xff\xfe\0") and NAME.encode() not in stripped


def personal_jpeg() -> bytes:
    """A JPEG of 30 x 20 as it lies in other files."""
    return personal_photo("JPEG", paint(30, 20)).removesuffix(b"a film of Paris")


def directory(tags: Tags) -> bytes:
    """A TIFF's directory of single LONGs, the last of its file."""
    entries = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)


STRIP: Tags = {273: -1, 278: 4, 279: 16}  # of 4 x 4 grey pixels, which come first
JPEG_STRIP: Tags = {258: [8, 8, 8], 259: 7, 262: 6, 273: -1, 277: 3, 278: 20}


def grey_tiff_and(inner: Tags, tag: int = 330) -> bytes:
    """A TIFF of 4 x 4 pixels, with a directory of `inner` about a personal JPEG, to which its `tag` leads."""
    jpeg = personal_jpeg() + bytes(len(personal_jpeg()) % 2)
    start = len(build_grey_tiff((4, 4), bytes(16), STRIP | {tag: 0}))
    there = {key: value if isinstance(value, list) or value >= 0 else start for key, value in inner.items()}
    behind = jpeg + directory(there | {514 if 513 in inner else 279: len(jpeg)})
    return build_grey_tiff((4, 4), bytes(range(16)) + behind, STRIP | {tag: -1 - 16 - len(jpeg)})


def with_thumbnail() -> bytes:
    """As cameras have it: the JPEG is of a second page, in the tags of the older kind."""
    data = bytearray(grey_tiff_and({259: 6, 513: -1}))
    n_entries = data[8]
    place = next(at for at in range(10, 10 + 12 * n_entries, 12) if data[at : at + 2] == b"\x4a\x01")
    data[10 + 12 * n_entries : 14 + 12 * n_entries] = data[place + 8 : place + 12]
    return bytes(data)


def two_pages() -> bytes:
    pages = TiffImagePlugin.AppendingTiffWriter(target := io.BytesIO(), True)
    for page, note in ((paint(30, 20), "a basket"), (Image.frombytes("L", (10, 1), NAME.encode()), "a name")):
        page.save(pages, "TIFF", tiffinfo={270: note})
        pages.newFrame()
    return target.getvalue()


HIDDEN = {
    "a preview in a directory below": grey_tiff_and({254: 1, 256: 30, 257: 20, 259: 7, 262: 6, 273: -1}),
    "a thumbnail": with_thumbnail(),
    "a second page": two_pages(),
    "behind it": encode(paint(20, 20), "TIFF") + NAME.encode(),
    "a strip that is a JPEG": build_grey_tiff((30, 20), personal_jpeg(), JPEG_STRIP | {279: len(personal_jpeg())}),
    "a JPEG of the older kind": build_grey_tiff(
        (30, 20),
        personal_jpeg(),
        JPEG_STRIP | {259: 6, 279: len(personal_jpeg()), 513: -1, 514: len(personal_jpeg())},
    ),
}


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_nothing_hides_in_a_tiff(data: bytes) -> None:
    stripped = strip_metadata(data)
    assert NAME.encode() in data
    assert not [secret for secret in SECRETS if secret in stripped]
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
    assert strip_metadata(stripped) is stripped


def test_a_tiff_that_is_broken_behind_its_picture_is_stripped() -> None:
    plain = build_grey_tiff((4, 4), bytes(range(16)), STRIP | {34853: -1 - 16})
    next_directory = 10 + 12 * plain[8]
    lost = plain[:next_directory] + b"\xf0\xff\xff\xff" + plain[next_directory + 4 :]
    without_end = plain + directory({1: 0x47505300})[:-4]
    for data in (plain, lost, without_end):
        stripped = strip_metadata(data)
        assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
        assert b"\x25\x88" not in stripped, "the entry that led to the place"


@pytest.mark.parametrize(
    "layout",
    [
        {273: [-1, -9], 278: 2},
        {273: [-1, -9], 278: 2, 279: [1, 1]},
        {322: 16, 323: 16, 324: -1},
        {273: [-1, -17, -33], 258: [8, 8, 8], 262: 2, 277: 3, 278: 4, 284: 2},
    ],
    ids=["strips of untold length", "strips of a wrong length", "tiles", "planes"],
)
def test_uncompressed_pixels_stay_where_only_their_place_is_told(layout: Tags) -> None:
    pixels = bytes(range(256))[: 256 if 322 in layout else 48 if 284 in layout else 16]
    data = build_grey_tiff((4, 4), pixels + NAME.encode(), layout)
    stripped = strip_metadata(data)
    assert NAME.encode() not in stripped
    assert np.array_equal(decode_rgb(stripped), decode_rgb(data))


def test_a_small_tiff_cannot_keep_a_worker_busy() -> None:
    size, n = 4_000_000, 4000
    place = len(build_grey_tiff((4, 4), b"", STRIP)) + 12 * n
    many = struct.pack("<HHII", 60000, 1, size, place) * n
    plain = build_grey_tiff((4, 4), b"", STRIP | {273: place})
    entries_end = 10 + 12 * plain[8]
    count = struct.pack("<H", plain[8] + n)
    started = time.process_time()
    strip_metadata(plain[:8] + count + plain[10:entries_end] + many + plain[entries_end:] + bytes(size))
    notes = b"\xff\xd8" + b"\xff\xfe\0\2" * (size // 4)
    strips: Tags = {273: [-1 - 2 * i for i in range(4000)], 279: [size - i for i in range(4000)]}
    with pytest.raises(DecodeError):
        strip_metadata(build_grey_tiff((30, 20), notes, JPEG_STRIP | strips))
    assert time.process_time() - started < 3, "the first took 14 s, and the second would take hours"


def bmp_with_profile(kind: bytes, profile: bytes) -> bytes:
    """A bitmap with a header of the fifth version, whose profile follows the pixels."""
    plain = encode(paint(30, 20), "BMP")
    header = plain[18:54].ljust(52, b"\0") + kind + bytes(52)
    header += struct.pack("<III", 124 + len(plain) - 54, len(profile), 0)
    places = struct.pack("<IIII", len(plain) + 84 + len(profile), 0, 138, 124)
    return b"BM" + places + header + plain[54:] + profile


def test_nothing_hides_in_a_bitmap() -> None:
    path = b"C:\\Users\\" + NAME.encode() + b"\\x.icm\0"
    runs = bytearray(encode(paint(4, 1).convert("L"), "BMP")[:-4] + b"\4\7\0\1")
    runs[30], runs[34] = 1, 4
    for data in (
        encode(paint(30, 20), "BMP") + NAME.encode(),
        encode(paint(30, 20).quantize(16), "BMP") + NAME.encode(),
        bytes(runs) + NAME.encode(),
        bmp_with_profile(b"KNIL", path),
        bmp_with_profile(b"DEBM", PROFILE) + NAME.encode(),
    ):
        stripped = strip_metadata(data)
        assert NAME.encode() in data and NAME.encode() not in stripped
        assert np.array_equal(decode_rgb(stripped), decode_rgb(data))
        assert strip_metadata(stripped) is stripped
        assert (PROFILE in stripped) == (PROFILE in data)
        assert int.from_bytes(stripped[2:6], "little") == len(stripped)


def test_a_bitmap_that_is_a_jpeg_within_is_set_aside() -> None:
    data = bytearray(encode(paint(30, 20), "BMP")[:54] + personal_jpeg())
    data[30] = 4
    with pytest.raises(DecodeError):
        strip_metadata(bytes(data))


def test_files_that_are_no_photos_are_refused() -> None:
    for data in (b"", b"words", b"\0\0\0\x18ftypheic" + NAME.encode(), b"II*\0\xff\xff\xff\xff", b"GIF89a"):
        with pytest.raises(DecodeError):
            strip_metadata(data)
    with pytest.raises(DecodeError) as refused:
        strip_metadata(personal_photo("WEBP", paint(40, 40)), max_pixels=100)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS, "its way up could not be told"


def test_hostile_files_are_taken_apart_or_refused_and_no_pixel_changes() -> None:
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
    told = {Path(file["SourceFile"]).name: file for file in json.loads(done.stdout)}
    for kind in FORMATS:
        personal = ("XMP:", "IPTC:", "Photoshop:", "MakerNotes:", "Trailer:")
        assert NAME in str(told[f"before-{kind}"]), kind
        assert not [key for key in told[f"after-{kind}"] if key.startswith(personal)], kind
        layout = ("Orientation", "ExifByteOrder", "YCbCrPositioning")
        exif = [key for key in told[f"after-{kind}"] if key.startswith("EXIF:") and not key.endswith(layout)]
        assert kind in ("TIFF", "deflated") or not exif, kind
        outside = ("SourceFile", "File:File", "ICC_Profile:")
        rest = [str(value) for key, value in told[f"after-{kind}"].items() if not key.startswith(outside)]
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
    told = manifest_here("pack", photos, "packed", cwd=tmp_path)
    assert told["counts"]["metadata"] == {"removed": len(FORMATS), "set-aside": 1, "none": 1}
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
    told = manifest_here("pack", photos, "packed", "--keep-metadata", cwd=tmp_path)
    assert "metadata" not in told["counts"]
    packed = pq.read_table(tmp_path / "packed" / "images").to_pylist()
    assert {row["content"] for row in packed} == {file.read_bytes() for file in photos.rglob("*.*")}


def test_packing_says_what_it_has_set_aside(photos: Path, tmp_path: Path) -> None:
    told = verger("pack", photos, "packed", cwd=tmp_path).stdout
    assert "removed 11" in told and "1 files are set aside" in told and "--keep-metadata" in told


def test_neither_views_nor_thumbnails_hold_metadata(photos: Path, tmp_path: Path) -> None:
    write_views(str(photos), tmp_path / "views", AugmentOptions(per_photo=1, size_px=32), SilentProgress())
    views = [file.read_bytes() for file in (tmp_path / "views").rglob("*.jpg")]
    thumbnails = thumbnails_here([str(file) for file in photos.rglob("*.*")])
    pictures = [base64.b64decode(uri.partition(",")[2]) for uri in thumbnails if uri]
    assert len(views) == 2 * len(pictures) == 2 * (len(FORMATS) + 1)
    for data in views + pictures:
        assert strip_metadata(data) is data
        assert not exif_of(data)
