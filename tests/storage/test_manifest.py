"""manifest.json: written and read by one class, also files of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verger.errors import ResultError
from verger.storage.manifest import Manifest, find_manifest, read_manifest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = Manifest.start("run", "photos/", {"model": "fruitnet", "components": None})
    manifest.counts |= {"listed": 4, "rejected": 1}
    with manifest.timed("list"):
        pass
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert json.loads((tmp_path / "manifest.json").read_text())["version"] == 1
    assert manifest.rejected_share == 0.25


def test_a_manifest_without_version_loads_and_keeps_keys_it_does_not_know(tmp_path: Path) -> None:
    old = {"command": "run", "network": {"fingerprint": "abc"}, "timings_s": {"total": 3}, "later": [1]}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    manifest = read_manifest(tmp_path)
    assert (manifest.version, manifest.verger, manifest.text("network", "fingerprint")) == (1, "", "abc")
    assert manifest.facts == old


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": 2}', "version: written by a later version of verger: upgrade"),
        ('{"network": 3}', "network: Input should be an object"),
        ('{"timings_s": {"start": "soon"}}', r"timings_s.start: Input should be a valid number"),
        ("[]", "manifest.json cannot be read: Input should be an object"),
        ("{", "manifest.json cannot be read: Invalid JSON"),
        ("\x00", "manifest.json cannot be read: Invalid JSON"),
        (None, "not a finished verger result"),
    ],
)
def test_a_manifest_that_is_not_valid_is_named_with_its_key(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ResultError, match=message):
        read_manifest(tmp_path)
    assert find_manifest(tmp_path) is None
