"""Decoding in a child process: the same images and errors, and an error where the child dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import poison
from tests.support.chain import wait_until_gone
from tests.support.photos import EXIF_TURNED, encode, paint
from verger.errors import DecodeError, Reason, SetupError
from verger.kernel.decode import decode_image
from verger.tasks.child_decoder import ChildDecoder


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChildDecoder]:
    """One whose child dies of deadly photos."""
    poison.mortal(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with ChildDecoder() as decoder:
        yield decoder


def test_a_photo_that_kills_the_child_is_rejected_and_the_next_one_is_decoded(
    decoder: ChildDecoder, photos: Path
) -> None:
    good = (photos / "apple" / "0.JPG").read_bytes()
    assert decoder.decode(good).image.tobytes() == decode_image(good).image.tobytes()
    for sent, ending in poison.DEADLY.items():
        with pytest.raises(DecodeError, match=rf"^poison: decoding it ended the process \(signal {sent:d}\)$"):
            decoder.decode(good + ending)
        assert decoder.decode(good).image.size == (30, 20)
    with pytest.raises(DecodeError) as error:
        decoder.decode((photos / "kiwi" / "half.png").read_bytes())
    assert error.value.reason == Reason.TRUNCATED


def test_a_child_decodes_at_a_reduced_scale_too() -> None:
    data = encode(paint(640, 480), "JPEG", exif=EXIF_TURNED)
    with ChildDecoder() as decoder:
        decoded = decoder.decode(data, min_size_px=(100, 100))
    assert decoded.image.tobytes() == decode_image(data, min_size_px=(100, 100)).image.tobytes()
    assert (decoded.image.size, decoded.width, decoded.height) == ((120, 160), 480, 640)


def test_a_child_that_does_not_start_is_no_photos_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "PIL.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with ChildDecoder() as decoder, pytest.raises(SetupError, match="exit code 1"):
        decoder.decode(b"")


def test_a_child_reads_too(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison.mortal(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    good = photos / "apple" / "0.JPG"
    (tmp_path / poison.STALLING).touch()
    with ChildDecoder(photo_timeout_s=2) as decoder:
        assert decoder.read(f"file:{good}") == good.read_bytes()
        for _ in range(2):
            with pytest.raises(DecodeError, match=r"^timeout: reading it takes longer than 2 s$"):
                decoder.read(f"file:{tmp_path}/{poison.STALLING}")
        with pytest.raises(DecodeError, match=r"^unreadable: FileNotFoundError: No such file or directory$"):
            decoder.read(f"file:{tmp_path}/gone.jpg")
        with pytest.raises(DecodeError, match=r"^too-large: "):
            (tmp_path / "video.jpg").touch()
            os.truncate(tmp_path / "video.jpg", 4 << 40)
            decoder.read(f"file:{tmp_path}/video.jpg")
        assert decoder.read(f"file:{good}") == good.read_bytes()


def test_the_child_ends_with_its_worker(photos: Path) -> None:
    worker = (
        "import pathlib, sys, time; from verger.tasks.child_decoder import ChildDecoder;"
        "decoder = ChildDecoder();"
        "decoder.decode(pathlib.Path(sys.argv[1]).read_bytes()); print(decoder._child.process.pid, flush=True);"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", worker, str(photos / "apple" / "1.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        child = psutil.Process(int(running.stdout.readline()))
        running.send_signal(signal.SIGKILL)
    assert wait_until_gone([child], 30) == []
