from __future__ import annotations

from pathlib import Path

import pytest

from verger.errors import StorageError
from verger.storage.uri import any_path, is_hadoop, is_local, local_folder, local_name, split_glob, to_local


@pytest.mark.parametrize(
    "path", ["IMG-T10:30.jpg", "./a:b", "fruits:v2", "C:\\photos", "a:/b", "s3:b", "~/x:y", "file:x"]
)
def test_a_colon_is_no_scheme(path: str) -> None:
    assert is_local(path) and not is_hadoop(path)
    assert to_local(path) == path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///my%20photos", "/my photos"),
        ("file://localhost/my%20photos/%C3%A9", "/my photos/\u00e9"),
        ("FILE:///p%EAche", "/p\udceache"),
        ("file:/my%20photos", "/my%20photos"),
        ("file:////x", "/x"),
        ("file:/a\nb", "/a\nb"),
    ],
)
def test_uris_with_an_authority_are_percent_encoded(uri: str, path: str) -> None:
    assert is_local(uri)
    assert to_local(uri) == path


def test_a_file_on_another_host_is_refused() -> None:
    with pytest.raises(StorageError, match="not on the host 'nas'"):
        to_local("file://nas/photos")
    assert local_name("file://nas/photos") == "file://nas/photos"


def test_two_slashes_at_the_beginning_are_one(tmp_path: Path) -> None:
    assert str(local_folder(f"/{tmp_path}")) == str(any_path(f"//{tmp_path}")) == str(tmp_path)


def test_a_file_that_an_earlier_version_listed_with_two_slashes_is_found(tmp_path: Path) -> None:
    (tmp_path / "a%20b.jpg").touch()
    assert to_local(f"file:/{tmp_path}/a%20b.jpg") == str(tmp_path / "a%20b.jpg")
    with pytest.raises(StorageError, match="not on the host"):
        to_local(f"file:/{tmp_path}/absent.jpg")


@pytest.mark.parametrize("uri", ["hdfs://host/x", "hdfs:/x", "viewfs:/x", "ftp://x/y"])
def test_other_schemes_are_for_spark(uri: str) -> None:
    assert is_hadoop(uri) and not is_local(uri)
    with pytest.raises(StorageError, match="not write results"):
        any_path(uri)


def test_a_glob_starts_below_what_exists(tmp_path: Path) -> None:
    folder = tmp_path / "exp[3]" / "res[1]"
    folder.mkdir(parents=True)
    assert split_glob(folder) == (folder, "")
    assert split_glob(folder / "*.jpg") == (folder, "*.jpg")
    assert split_glob(folder / "[ab]" / "x" / "*") == (folder, "[ab]/x/*")
    assert split_glob(tmp_path / "absent") == (tmp_path / "absent", "")
