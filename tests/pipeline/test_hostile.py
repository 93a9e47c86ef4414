"""Broken photos by the thousand: each decodes or is a DecodeError, and nothing else happens.

Run as a program, this decodes hostile photos and prints a line for each; the test reads the lines, so that an
abort in a C library shows as one, with the name of the photo that caused it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.chain import manifest_of, table
from tests.support.events import ENGINES
from tests.support.photos import MUTATIONS, base_photos, encode, fix_checksums, hostile_photos, paint
from verger.errors import DecodeError, Reason
from verger.kernel.decode import decode_rgb
from verger.photo_names import HAS_HEIC

N_PHOTOS, SEED = 2000, 2026
N_IN_PIPELINE = 10_000
CPU_LIMIT_S, PEAK_LIMIT_MB = 5.0, 700

# verger.kernel.decode silences Pillow's modules, but pytest puts its own filters before that.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")


def outcome(data: bytes) -> str:
    """What became of a photo: "decoded" or the reason; any other exception passes through."""
    try:
        rgb = decode_rgb(data)
    except DecodeError as error:
        return Reason(error.reason).value
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3
    assert rgb.shape[2] == 3
    assert rgb.size > 0
    return "decoded"


def main(n: int, seed: int) -> None:
    """Print "name outcome seconds" for each photo; the name first, in case there is no outcome."""
    for name, data in hostile_photos(n, seed):
        print(name, end=" ", flush=True)
        start_s = time.process_time()
        print(outcome(data), time.process_time() - start_s)
    print("peak MB", peak_mb())


def peak_mb() -> float:
    """Of this process alone (ru_maxrss would be the parent's, if that is larger); 0 where it is not known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What `main` prints in a process of its own, where warnings are errors."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-X",
        "faulthandler",
        "-m",
        "tests.pipeline.test_hostile",
        str(N_PHOTOS),
        str(SEED),
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=root)
    # libtiff itself writes to stderr what it thinks of a file; Python must not.
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"died of {last}: {done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done.stdout.splitlines()


def test_every_hostile_photo_decodes_or_is_rejected_for_a_reason(lines: list[str]) -> None:
    counts = Counter(line.split()[1] for line in lines[:-1])
    n_decoded, n_rejected = counts["decoded"], sum(counts[reason.value] for reason in Reason)
    assert n_decoded + n_rejected == len(lines) - 1 == N_PHOTOS
    assert n_decoded > N_PHOTOS // 5
    assert n_rejected > N_PHOTOS // 5
    missing = {reason.value for reason in Reason} - set(counts)
    assert missing <= {Reason.EMPTY, Reason.UNREADABLE, Reason.TOO_LARGE, Reason.POISON, Reason.TIMEOUT}


def test_no_hostile_photo_takes_long_or_much(lines: list[str]) -> None:
    *photos, peak = lines
    slowest = max(photos, key=lambda line: float(line.split()[2]))
    assert float(slowest.split()[2]) < CPU_LIMIT_S, slowest
    assert float(peak.split()[-1]) < PEAK_LIMIT_MB


def test_hostile_photos_are_the_same_every_time_and_of_every_kind() -> None:
    photos = list(hostile_photos(N_PHOTOS, SEED))
    assert photos == list(hostile_photos(N_PHOTOS, SEED))
    assert photos[:20] != list(hostile_photos(20, SEED + 1))
    names = [name for name, _ in photos]
    assert len(set(names)) == N_PHOTOS
    heic = {"heic"} if HAS_HEIC else set()
    assert {name.rpartition(".")[2] for name in names} == {"jpg", "png", "webp", "gif", "tif", "bmp", "avif"} | heic
    mutations = Counter(name.partition("-")[2].partition(".")[0] for name in names)
    assert len(mutations) == len(MUTATIONS)
    assert min(mutations.values()) > N_PHOTOS // 20
    whole = {photo.data for photo in base_photos()}
    assert not any(data in whole for _, data in photos)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_every_one_of_ten_thousand_damaged_photos_is_counted(engine: str, tiny_model: str, tmp_path: Path) -> None:
    """Through the whole pipeline: no crash, no hang, and each photo is in one of the two tables."""
    (tmp_path / "photos").mkdir()
    for name, data in hostile_photos(N_IN_PIPELINE, SEED + 7):
        (tmp_path / "photos" / name).write_bytes(data)
    words = ("run", "photos", "out", "--model", tiny_model, "--components", 2, "--no-report")
    found = manifest_of(*words, *ENGINES[engine], cwd=tmp_path)
    counts = found["counts"]
    assert counts["listed"] == counts["features"] + counts["rejected"] == N_IN_PIPELINE
    assert counts["features"] > N_IN_PIPELINE // 5 and counts["rejected"] > N_IN_PIPELINE // 5
    assert not {Reason.POISON, Reason.TIMEOUT, Reason.UNREADABLE} & set(counts["rejected_by_reason"])
    paths = [
        path for part in ("features", "rejected") for path in table(tmp_path / "out" / part)["path"].to_pylist()
    ]
    assert len(set(paths)) == len(paths) == N_IN_PIPELINE


# Small, so that most of their bytes are headers.
SMALL = [
    encode(paint(9, 7), "JPEG"),
    encode(paint(9, 7), "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0"),
    encode(paint(9, 7).convert("CMYK"), "JPEG"),
    encode(paint(9, 7), "MPO", save_all=True, append_images=[paint(9, 7)]),
    encode(paint(9, 7), "PNG"),
    encode(paint(9, 7).quantize(5), "PNG", transparency=b"\0\x80"),
    encode(paint(9, 7), "PNG", save_all=True, append_images=[paint(9, 7, 1)]),
    encode(paint(9, 7), "WEBP"),
    encode(paint(9, 7), "WEBP", lossless=True, save_all=True, append_images=[paint(9, 7, 1)]),
    encode(paint(9, 7).quantize(5), "GIF", transparency=0, disposal=2),
    encode(paint(9, 7), "TIFF"),
    encode(paint(9, 7), "TIFF", compression="tiff_lzw"),
    encode(paint(9, 7).quantize(5), "BMP"),
    encode(paint(9, 7), "AVIF"),
]

Edit = tuple[float, int, bytes]
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=8)), min_size=1, max_size=10)


def apply_edits(data: bytes, changes: list[Edit]) -> bytes:
    """Put other bytes in place of a run, at a fraction of the file, again and again."""
    for fraction, n_bytes, instead in changes:
        start = int(fraction * len(data))
        data = data[:start] + instead + data[start + n_bytes :]
    return data


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.sampled_from(SMALL), changes=edits, is_mended=st.booleans())
def test_edited_photos_decode_or_are_rejected(data: bytes, changes: list[Edit], is_mended: bool) -> None:
    edited = apply_edits(data, changes)
    outcome(fix_checksums(edited) if is_mended else edited)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.sampled_from(SMALL), n_kept=st.integers(3, 40), rest=st.binary(max_size=200))
def test_anything_behind_a_good_beginning_decodes_or_is_rejected(data: bytes, n_kept: int, rest: bytes) -> None:
    outcome(data[:n_kept] + rest)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
