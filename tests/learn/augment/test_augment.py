from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from verger.cli import app, main
from verger.errors import ResultError, SettingsError, SourceError
from verger.kernel.classifier.folds import group_of, group_pattern
from verger.learn.augment.augment import AugmentOptions, write_views
from verger.process.progress import SilentProgress
from verger.storage.commit import local_folder

OPTIONS = AugmentOptions(per_photo=4, size_px=32, smallest=0.3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two labels with a photo of the same name each, and one that is broken."""
    rng = np.random.default_rng(0)
    for label in ("kiwi", "pear"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / "same name.jpg")
    (tmp_path / "photos" / "pear" / "broken.jpg").write_bytes(b"\xff\xd8\xffnot a photo")
    return tmp_path / "photos"


def test_every_photo_becomes_views_under_its_label(photos: Path, tmp_path: Path) -> None:
    manifest = write_views(str(photos), tmp_path / "out", OPTIONS, SilentProgress())
    assert manifest.counts["listed"] == 3 and manifest.counts["views"] == 10
    assert manifest.counts["rejected_by_reason"] == {"corrupt": 1}
    rejected = json.loads((tmp_path / "out" / "rejected.json").read_text())
    assert [Path(photo["path"]).name for photo in rejected] == ["broken.jpg"]
    for label in ("kiwi", "pear"):
        files = sorted((tmp_path / "out" / label).iterdir())
        views = np.array([np.asarray(Image.open(file), np.float64) for file in files])
        assert views.shape == (5, 32, 32, 3)
        assert min(np.abs(a - b).mean() for i, a in enumerate(views) for b in views[:i]) > 1, "views must differ"
        whole = np.asarray(Image.open(photos / label / "same name.jpg").resize((32, 32)), np.float64)
        off = [np.abs(view - whole).mean() for view in views]
        assert off[0] < min(off[1:]) / 2, "the first is all of the photo"


def test_views_of_a_photo_stay_together_in_folds(photos: Path, tmp_path: Path) -> None:
    write_views(str(photos), tmp_path / "out", OPTIONS, SilentProgress())
    pattern = group_pattern("photo")
    groups = {group_of(str(path), pattern) for path in (tmp_path / "out").rglob("*.jpg")}
    assert len(groups) == 2 and None not in groups


def test_the_seed_alone_decides(photos: Path, tmp_path: Path) -> None:
    def views(name: str, seed: int) -> list[bytes]:
        options = AugmentOptions(per_photo=2, size_px=32, seed=seed)
        write_views(str(photos), tmp_path / name, options, SilentProgress())
        return [file.read_bytes() for file in sorted((tmp_path / name).rglob("*.jpg"))]

    assert views("one", 0) == views("again", 0) != views("other", 1)


def test_unreadable_photos_or_an_existing_result_are_an_error(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none of the 1 photos"):
        write_views(str(photos / "pear" / "broken*"), tmp_path / "out", OPTIONS, SilentProgress())
    assert not (tmp_path / "out").exists()
    write_views(str(photos), tmp_path / "out", OPTIONS, SilentProgress())
    with pytest.raises(ResultError, match="--overwrite"):
        write_views(str(photos), tmp_path / "out", OPTIONS, SilentProgress())


def test_views_are_not_replaced_by_views_of_themselves(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_views(str(photos), out, OPTIONS, SilentProgress())
    for source in (out, out / "kiwi", out / "*.jpg"):
        with pytest.raises(ResultError, match="would replace the source"):
            write_views(str(source), out, OPTIONS, SilentProgress(), overwrite=True)
    assert (out / "manifest.json").is_file()


@pytest.mark.parametrize(
    "wrong", [{"per_photo": 0}, {"size_px": 8}, {"smallest": 0.0}, {"smallest": 1.5}, {"seed": -1}]
)
def test_options_that_make_no_sense_name_the_valid_ones(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        AugmentOptions(**wrong)


def test_an_interrupt_after_the_switch_reports_the_new_result(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    write_views(str(photos), out, OPTIONS, SilentProgress())
    (out / "from-before").touch()
    real = local_folder._switch

    def switch(*paths: Path) -> None:
        real(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(local_folder, "_switch", switch)
    monkeypatch.setattr(sys, "argv", ["verger", "augment", str(photos), str(out), "--overwrite"])
    with pytest.raises(SystemExit) as ending:
        main()
    message = " ".join(capsys.readouterr().err.split())
    assert ending.value.code == 130 and not (out / "from-before").exists()
    assert "holds the new result" in message and "nothing was changed" not in message


def test_the_command_says_what_to_do_next(photos: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["augment", str(photos), str(tmp_path / "out"), "--per-photo", "1"])
    assert done.exit_code == 0, done.output
    assert "4 views of 2 photos in 2 labels (1 rejected)" in done.output
    assert "--group" in done.output


def test_a_pipe_and_a_device_are_rejected_without_reading(photos: Path, tmp_path: Path) -> None:
    label = next(path for path in photos.iterdir() if path.is_dir())
    os.mkfifo(label / "pipe.jpg")
    (label / "zero.jpg").symlink_to("/dev/zero")
    manifest = write_views(str(photos), tmp_path / "out", OPTIONS, SilentProgress())
    assert manifest.counts["rejected_by_reason"]["unreadable"] == 2
