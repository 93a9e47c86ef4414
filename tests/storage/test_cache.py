from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from verger.cloud.deploy.deployments import has_deployment
from verger.errors import SetupError
from verger.storage import cache


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VERGER_CACHE", "VERGER_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))


def test_the_folders_are_in_the_home_or_where_the_variables_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / ".cache" / "verger"
    assert cache.state_dir() == tmp_path / ".local" / "state" / "verger"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir() == tmp_path / "xdg" / "verger"
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "own"))
    assert cache.cache_dir() == tmp_path / "own"


def test_without_a_home_they_are_in_a_folder_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    own = tmp_path / f"verger-{os.getuid()}"
    assert (cache.cache_dir(), cache.state_dir()) == (own / "cache", own / "state")
    assert own.stat().st_mode & 0o777 == 0o700


def test_records_in_a_home_that_cannot_be_written_to_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`verger cloud down` must find a deployment that costs money."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".local" / "state" / "verger"
    (home / "cloud" / "test").mkdir(parents=True)
    (home / "cloud" / "test" / "deployment.json").touch()
    (tmp_path / ".cache" / "verger").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert cache.state_dir() == home and has_deployment("test")
    own = tmp_path / f"verger-{os.getuid()}"
    assert cache.cache_dir() == own / "cache"
    (tmp_path / ".local" / "state" / "verger").rename(tmp_path / "moved")
    assert cache.state_dir() == own / "state"


def test_a_folder_to_which_others_may_write_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers load networks and start Java from there: another user could plant files."""
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    own = tmp_path / f"verger-{os.getuid()}"
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(SetupError, match="set VERGER_CACHE to a folder of your own"):
        cache.cache_dir()
    own.rmdir()
    own.symlink_to(tmp_path)
    with pytest.raises(SetupError, match="set VERGER_STATE"):
        cache.state_dir()
