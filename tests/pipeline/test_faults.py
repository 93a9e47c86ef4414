"""Photos that kill or hang their decoder, disks that fill: the result is whole in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support import poison
from tests.support.chain import beside, files, manifest_here, manifest_of, multiplied, same_tables, table, verger
from tests.support.events import ENGINES
from tests.support.photos import encode, paint

# A photo in each task of one core is deadly, and one more in the first.
SPARK = pytest.param("spark", marks=pytest.mark.slow)
DEADLY = {"apple/1.png": signal.SIGABRT, "kiwi/2.png": signal.SIGSEGV, "pear/3.png": signal.SIGKILL}


@pytest.fixture
def with_poison(photos: Path, tmp_path: Path) -> Path:
    """Sixty photos and more, three of which kill whoever decodes them."""
    for copy in range(4):
        for folder in photos.iterdir():
            shutil.copytree(folder, tmp_path / "photos" / f"{folder.name} {copy}")
    for name, sent in DEADLY.items():
        poison.spoil(tmp_path / "photos" / name.replace("/", " 0/"), sent)
    return tmp_path / "photos"


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_photos_that_kill_their_decoder_are_rejected_and_cost_no_other(
    engine: str, with_poison: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("run", with_poison, "out", "--model", tiny_model, "--components", 2)
    (tmp_path / "site").mkdir()
    told = manifest_of(*words, *ENGINES[engine], cwd=tmp_path, PYTHONPATH=poison.mortal(tmp_path / "site"))
    assert told["counts"]["rejected_by_reason"]["poison"] == 3
    rejected = table(tmp_path / "out" / "rejected").to_pylist()
    found = {row["path"]: row["detail"] for row in rejected if row["reason"] == "poison"}
    assert found == {
        f"file:{with_poison}/{name.replace('/', ' 0/')}": f"decoding it ended the process (signal {sent:d})"
        for name, sent in DEADLY.items()
    }
    assert "crashed the decoder" in (tmp_path / "out" / "report.html").read_text()

    for name in DEADLY:
        (with_poison / name.replace("/", " 0/")).unlink()
    manifest_here("run", with_poison, "without", *words[3:7], "--no-report", cwd=tmp_path)
    for name in ("features", "components"):
        assert table(tmp_path / "out" / name).equals(table(tmp_path / "without" / name)), name
    others = [row for row in rejected if row["reason"] != "poison"]
    assert others == table(tmp_path / "without" / "rejected").to_pylist()


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_photos_that_hang_their_decoder_are_rejected_and_cost_no_other(
    engine: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    poison.hang(tmp_path / "photos" / "kiwi" / "2.png")
    words = ("run", "photos", "out", "--model", tiny_model, "--components", 2, "--photo-timeout-s", 3)
    (tmp_path / "site").mkdir()
    told = manifest_of(*words, *ENGINES[engine], cwd=tmp_path, PYTHONPATH=poison.mortal(tmp_path / "site"))
    assert told["counts"]["rejected_by_reason"]["timeout"] == 1
    (found,) = [row for row in table(tmp_path / "out" / "rejected").to_pylist() if row["reason"] == "timeout"]
    assert found["path"] == f"file:{tmp_path}/photos/kiwi/2.png"
    assert found["detail"] == "decoding it takes longer than 3 s"

    (tmp_path / "photos" / "kiwi" / "2.png").unlink()
    manifest_here("run", "photos", "without", *words[3:7], "--no-report", cwd=tmp_path)
    for name in ("features", "components"):
        assert table(tmp_path / "out" / name).equals(table(tmp_path / "without" / name)), name


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_photos_whose_reading_stalls_are_rejected_and_cost_no_other(
    engine: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    """More of them than one batch has, in one task: each has its own time."""
    shutil.copytree(photos, tmp_path / "photos")
    stalled = [tmp_path / "photos" / "kiwi" / f"{i} {poison.STALLING}" for i in range(3)]
    for path in stalled:
        shutil.copyfile(photos / "kiwi" / "1.png", path)
    words = ("run", "photos", "out", "--model", tiny_model, "--components", 2, "--photo-timeout-s", 2)
    (tmp_path / "site").mkdir()
    told = manifest_of(*words, *ENGINES[engine], cwd=tmp_path, PYTHONPATH=poison.mortal(tmp_path / "site"))
    assert told["counts"]["rejected_by_reason"]["timeout"] == 3
    assert told["counts"]["listed"] == told["counts"]["features"] + told["counts"]["rejected"]
    found = [row for row in table(tmp_path / "out" / "rejected").to_pylist() if row["reason"] == "timeout"]
    assert [row["path"] for row in found] == [f"file:{path}" for path in stalled]
    assert {row["detail"] for row in found} == {"reading it takes longer than 2 s"}

    for path in stalled:
        path.unlink()
    manifest_here("run", "photos", "without", *words[3:7], "--no-report", cwd=tmp_path)
    for name in ("features", "components"):
        assert table(tmp_path / "out" / name).equals(table(tmp_path / "without" / name)), name


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_photos_whose_reading_stalls_are_packed_without_content(engine: str, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    stalled = tmp_path / "photos" / "kiwi" / poison.STALLING
    shutil.copyfile(photos / "kiwi" / "1.png", stalled)
    (tmp_path / "site").mkdir()
    environment = {"PYTHONPATH": poison.mortal(tmp_path / "site")}
    flags = ("--photo-timeout-s", 2, *ENGINES[engine])
    told = manifest_of("pack", "photos", "packed", *flags, cwd=tmp_path, **environment)
    rows = {row["path"]: row for row in table(tmp_path / "packed" / "images").to_pylist()}
    assert len(rows) == told["counts"]["listed"]
    assert rows.pop(f"file:{stalled}")["content"] is None
    assert all(row["content"] is not None for row in rows.values())


@pytest.mark.parametrize("engine", ["local", SPARK])
@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_photos_that_kill_or_hang_their_decoder_are_packed_undecoded(
    engine: str, keeps_metadata: bool, with_poison: Path, tmp_path: Path
) -> None:
    poison.hang(with_poison / "apple 1" / "2.png")
    tiff = with_poison / "apple 2" / "deadly.tiff"  # its pixels are compared when its metadata is removed
    tiff.write_bytes(encode(paint(20, 20), "TIFF"))
    poison.spoil(tiff, signal.SIGSEGV)
    large = with_poison / "apple 0" / "large.png"
    large.write_bytes(encode(paint(200, 100), "PNG"))
    (tmp_path / "site").mkdir()
    flags = ("--max-side", 64, "--photo-timeout-s", 3, *["--keep-metadata"] * keeps_metadata)
    environment = {"PYTHONPATH": poison.mortal(tmp_path / "site")}
    told = manifest_of("pack", with_poison, "packed", *flags, *ENGINES[engine], cwd=tmp_path, **environment)
    rows = {
        Path(row["path"].removeprefix("file:")): row for row in table(tmp_path / "packed" / "images").to_pylist()
    }
    assert len(rows) == told["counts"]["listed"]
    assert len(rows[large]["content"]) != large.stat().st_size
    deadly = [path for path in rows if path.read_bytes().endswith((*poison.DEADLY.values(), b"never ends"))]
    assert len(deadly) == len(DEADLY) + 2
    for path in deadly:
        data = path.read_bytes()
        assert rows[path]["content"] == (data if keeps_metadata else data[:16])
        assert rows[path].get("metadata") == (None if keeps_metadata else "set-aside")


def test_files_that_are_no_photos_of_this_world_are_rejected_and_cost_no_other(
    photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    odd = tmp_path / "photos" / "pear"
    with (odd / "video.jpg").open("wb") as video:
        video.truncate(4 << 40)
    (odd / "long.png").write_bytes(encode(Image.new("1", (49_000_000, 1)), "PNG"))
    (odd / "high.png").write_bytes(encode(Image.new("1", (1, 49_000_000)), "PNG"))
    os.mkfifo(odd / "pipe.jpg")
    (odd / "device.jpg").symlink_to("/dev/zero")
    words = ("run", "photos", "out", "--model", tiny_model, "--components", 2, "--no-report")
    told = manifest_here(*words, cwd=tmp_path)
    rejected = table(tmp_path / "out" / "rejected").to_pylist()
    reasons = {Path(row["path"]).name: row["reason"] for row in rejected}
    assert told["counts"]["features"] == 12 and len(reasons) == 8
    expected = {"video": "too-large", "long": "too-many-pixels", "high": "too-many-pixels", "pipe": "unreadable"}
    expected["device"] = "unreadable"
    assert {Path(name).stem: reason for name, reason in reasons.items()}.items() >= expected.items()

    packed = manifest_here("pack", "photos", "packed", cwd=tmp_path)
    assert packed["counts"]["metadata"]["unreadable"] == 3
    assert manifest_here("run", "packed", "again", *words[3:], cwd=tmp_path)["counts"]["features"] == 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with room for a few small results."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs root, and a system that lets it mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_a_disk_that_fills_is_named_and_the_next_run_is_whole(
    engine: str, small_disk: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("run", photos, small_disk / "out", "--model", tiny_model, "--components", 2, "--no-report")
    manifest_here(*words, cwd=tmp_path)
    before = files(small_disk / "out")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 16384))

    full = verger(*words, *ENGINES[engine], "--overwrite", cwd=tmp_path)
    assert full.returncode == 1, full.stderr
    assert "error: a disk is full; free: " in full.stderr and f" in {small_disk}," in full.stderr
    assert "Make room" in full.stderr and "Traceback" not in full.stderr and full.stderr.count("error") == 1
    assert files(small_disk / "out") == before and beside(small_disk / "out") == []

    ballast.unlink()
    manifest_of(*words, *ENGINES[engine], "--overwrite", cwd=tmp_path)
    manifest_here("run", photos, "elsewhere", *words[3:], cwd=tmp_path)
    assert same_tables(small_disk / "out", tmp_path / "elsewhere")


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_a_scratch_disk_that_fills_is_named(engine: str, small_disk: Path, photos: Path, tmp_path: Path) -> None:
    """The network, which all workers are given, does not fit."""
    many = multiplied(photos, tmp_path / "many", 600)
    (small_disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 16384))
    conf = ("--conf", f"spark.local.dir={small_disk}") if engine == "spark" else ()
    elsewhere = {} if engine == "spark" else {"TMPDIR": str(small_disk)}
    words = ("run", many, "out", "--model", "fruitnet", *ENGINES[engine], *conf)
    full = verger(*words, cwd=tmp_path, **elsewhere)
    assert full.returncode == 1, full.stderr
    assert "error: a disk is full; free: " in full.stderr and f" in {small_disk}" in full.stderr
    assert "Traceback" not in full.stderr and not (tmp_path / "out").exists()
