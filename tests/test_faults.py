"""Photos that kill their decoder, processes that are killed, disks that fill: the result is whole in the end."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests import poison
from tests.chain import manifest_here, manifest_of, table

# A photo in each task of one core is deadly, and one more in the first.
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


@pytest.mark.core
@pytest.mark.usefixtures("spark")
def test_photos_that_kill_their_decoder_are_rejected_and_cost_no_other(
    with_poison: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("run", with_poison, "out", "--model", tiny_model, "--components", 2, "--master", "local[2]")
    (tmp_path / "site").mkdir()
    told = manifest_of(*words, cwd=tmp_path, PYTHONPATH=poison.mortal(tmp_path / "site"))
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
