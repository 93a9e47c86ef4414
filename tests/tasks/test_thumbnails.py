from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.support.thumbnails import thumbnails_here
from verger.engine.local.local_options import LocalOptions
from verger.engine.local.pool import local_engine
from verger.pipeline.finalize import make_thumbnails
from verger.tasks.base import Attempt
from verger.tasks.thumbnails import SIZE_PX, ThumbnailJob, thumbnails_of


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a b 100%25 \u00e9.png"
    Image.effect_noise((400, 300), 60).save(path)
    return path


def open_uri(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


@pytest.mark.parametrize("form", [str, "file:{}".format, Path.as_uri])
def test_local_photos_are_made_small(photo: Path, form: Callable[[Path], str]) -> None:
    [uri] = thumbnails_here([form(photo)])
    assert open_uri(uri).size == (SIZE_PX, SIZE_PX * 3 // 4)


def test_what_is_no_local_photo_has_none(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = [str(tmp_path), *map(str, tmp_path.iterdir()), str(tmp_path / "gone.jpg")]
    paths += ["", "file:", "file:/zero\0byte", "hdfs://host/a.jpg", "http://localhost/a.jpg"]
    assert thumbnails_here(paths) == [None] * len(paths)


def test_the_first_photos_within_the_budget_are_read(photo: Path) -> None:
    n_bytes = photo.stat().st_size
    found = thumbnails_here([str(photo)] * 5, budget_bytes=3 * n_bytes)
    assert [uri is not None for uri in found] == [True, True, True, False, False]


def test_the_first_photo_of_a_task_is_read_at_any_size(photo: Path) -> None:
    found = thumbnails_here([str(photo)] * 2, budget_bytes=1)
    assert [uri is not None for uri in found] == [True, False]


def test_a_task_that_has_failed_twice_makes_none(photo: Path) -> None:
    paths = [str(photo)]
    assert thumbnails_of(ThumbnailJob(1), paths, Attempt(1)) == thumbnails_here(paths) != [None]
    assert thumbnails_of(ThumbnailJob(1), paths, Attempt(2)) == [None]


def test_an_engines_thumbnails_are_in_the_order_of_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.pipeline.finalize.PHOTOS_PER_TASK", 2)
    paths = [str(tmp_path / f"{number}.png") for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20, 20), (50 * number, 0, 0)).save(path)
    with local_engine(LocalOptions(n_workers=2)) as engine:
        made = make_thumbnails(engine, paths)
    reds = [open_uri(uri).convert("RGB").getpixel((10, 10))[0] for uri in made]  # type: ignore[index]
    assert reds == pytest.approx([0, 50, 100, 150, 200], abs=10)


def test_grey_photos_become_rgb(photo: Path) -> None:
    assert open_uri(thumbnails_here([str(photo)])[0]).mode == "RGB"
