"""Reading photos: only regular files, in order, without waiting for what never comes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.thumbnails import thumbnails_here
from verger.errors import DecodeError, Reason
from verger.kernel.classifier.classifier import load_classifier
from verger.kernel.decode import DEFAULT_MAX_PIXELS, limits
from verger.learn.finetune.dataset import _read_photo
from verger.learn.predict import predict
from verger.sources.content import read_photo, read_photos
from verger.storage.objects import ObjectPath

NOT_REGULAR = "unreadable: not a regular file"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def make_linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD: dict[str, Callable[[Path], None]] = {
    "pipe": make_pipe,
    "link to a pipe": make_linked_pipe,
    "socket": make_socket,
    "endless device": link_to_device,
    "folder": Path.mkdir,
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    ODD[request.param](path)
    return path


def test_what_is_no_regular_file_is_refused_at_once(odd: Path) -> None:
    with pytest.raises(DecodeError, match=f"^{NOT_REGULAR}") as caught:
        read_photo(f"file:{odd}")
    assert caught.value.reason == Reason.UNREADABLE


def test_a_file_on_another_host_is_unreadable_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a photo")
    foreign, own = read_photos(["file://nas/photos/a.jpg", f"file:/{tmp_path}/a.jpg"])
    assert isinstance(foreign, DecodeError)
    assert foreign.reason == Reason.UNREADABLE and "not on the host 'nas'" in foreign.detail
    assert own == b"a photo"


def test_commands_without_an_engine_refuse_it_too(odd: Path) -> None:
    (found,) = predict([odd], load_classifier())
    assert found.error is not None and found.error.startswith(NOT_REGULAR)
    with pytest.raises(DecodeError, match=NOT_REGULAR):
        _read_photo(str(odd), 8, 1000)
    assert thumbnails_here([str(odd)]) == [None]


def test_a_folder_that_cannot_be_listed_has_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Iterator[object]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DecodeError, match=r"^unreadable: cannot list the folder: Permission denied$"):
        read_photo(f"file:{tmp_path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_without_permission_has_the_cause(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0)
    with pytest.raises(DecodeError, match=r"^unreadable: cannot list the folder: Permission denied$"):
        read_photo(f"file:{tmp_path}/private")


def test_a_pipe_that_takes_the_name_of_a_file_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").touch()
    of_file = os.stat(tmp_path / "a.jpg")
    os.unlink(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "a.jpg")
    monkeypatch.setattr("verger.sources.content.os.stat", lambda path: of_file)
    with pytest.raises(DecodeError, match=NOT_REGULAR):
        read_photo(f"file:{tmp_path}/a.jpg")


# A file server does this when a client caches a file: who opens it has to wait until the client has returned it.
LEASE = """
import fcntl, os, signal, sys
file = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK))
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="leases of files are Linux'")
def test_a_file_that_a_file_server_has_leased_is_read_when_it_is_returned(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"content")
    with subprocess.Popen([sys.executable, "-c", LEASE, str(photo)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "leased\n"
            assert read_photo(f"file:{photo}") == b"content"
        finally:
            server.send_signal(signal.SIGKILL)


def test_an_empty_and_a_large_file_are_read(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3_000_001)
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "empty").touch()
    assert read_photo(f"file:{tmp_path}/large") == content
    assert read_photo(str(tmp_path / "empty")) == b""


def test_a_file_that_is_longer_than_it_says_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.stat("/proc/version").st_size == 0 and len(read_photo("/proc/version")) > 10
    monkeypatch.setattr(limits, "_MORE_BYTES", -8 * DEFAULT_MAX_PIXELS + 10)
    with pytest.raises(DecodeError, match=r"too-large: .* is over the limit"):
        read_photo("/proc/version")


def test_no_descriptor_stays_open(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"x")
    before = sorted(os.listdir("/proc/self/fd"))
    for path in (odd, tmp_path / "good", tmp_path / "gone"):
        list(read_photos([str(path)]))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_photos_of_all_places_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local files are read one by one, when they are needed, by the function that the caller names."""
    monkeypatch.setattr(ObjectPath, "read_bytes", lambda path, check: path.key.encode())
    uris = [None if i % 7 == 6 else f"s3a://bucket/{i}" if i % 2 else f"file:/{i}" for i in range(100)]
    read: list[str] = []

    def read_local(uri: str) -> bytes:
        read.append(uri)
        if uri.endswith("0"):
            raise DecodeError(Reason.TIMEOUT, uri)
        return uri.encode()

    found = read_photos(uris, read_local=read_local)
    first = next(found)
    assert isinstance(first, DecodeError) and read == ["file:/0"]
    for i, (uri, content) in enumerate(zip(uris[1:], found, strict=True), 1):
        if uri is None:
            assert isinstance(content, DecodeError) and content.detail == "the path is null"
        elif i % 2:
            assert content == str(i).encode()
        else:
            assert content == uri.encode() or isinstance(content, DecodeError)
