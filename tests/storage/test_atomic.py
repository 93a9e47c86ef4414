"""Files and folders that appear complete, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.storage.atomic import fill_atomically, write_atomically


def test_a_file_is_replaced_only_when_its_block_ends_without_an_error(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    with write_atomically(file) as temporary:
        temporary.write_text("one")
    with pytest.raises(ValueError, match="half-way"), write_atomically(file) as temporary:
        temporary.write_text("half")
        raise ValueError("half-way")
    assert file.read_text() == "one" and list(file.parent.iterdir()) == [file]


def test_a_folder_appears_only_when_its_block_ends_without_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    with pytest.raises(ValueError, match="half-way"), fill_atomically(folder) as temporary:
        (temporary / "file").touch()
        raise ValueError("half-way")
    assert list(folder.parent.iterdir()) == []
    with fill_atomically(folder) as temporary:
        (temporary / "file").write_text("one")
    assert (folder / "file").read_text() == "one" and list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_another_process_has_completed_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with fill_atomically(folder) as temporary:
        (temporary / "file").write_text("two")
        folder.mkdir()
        (folder / "file").write_text("one")
    assert (folder / "file").read_text() == "one" and list(tmp_path.iterdir()) == [folder]
