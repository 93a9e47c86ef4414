from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from verger.errors import ResultError, SettingsError
from verger.kernel.decode import decode_rgb
from verger.sample import ABOUT_NAME, COMMENT, KINDS, SampleOptions, render_kind, render_sample

SMALL = SampleOptions(per_kind=4, size_px=32)

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos of each kind at full size, rendered once."""
    out = tmp_path_factory.mktemp("sample") / "fruit"
    assert render_sample(out, SampleOptions(per_kind=6)) == 6 * len(KINDS)
    return out


def read_bytes(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def read_photos(folder: Path) -> list[npt.NDArray[np.uint8]]:
    paths = sorted(folder.iterdir(), key=lambda path: int(path.stem.split("_")[0]))
    return [decode_rgb(path.read_bytes()) for path in paths]


def colour_histogram(photo: npt.NDArray[np.uint8]) -> Floats:
    """Four levels a channel; sums to 1."""
    counts = np.bincount((photo // 64).reshape(-1, 3) @ np.array([16, 4, 1]), minlength=64)
    return np.asarray(counts / counts.sum())


def test_one_folder_a_kind_with_numbered_photos(sample: Path) -> None:
    assert sorted(path.name for path in sample.iterdir()) == sorted([ABOUT_NAME, *KINDS])
    for kind in KINDS:
        assert {path.name for path in (sample / kind).iterdir()} == {f"{i}_100.jpg" for i in range(6)}


def test_photos_are_one_fruit_on_white(sample: Path) -> None:
    for kind in KINDS:
        for photo in read_photos(sample / kind):
            assert photo.shape == (100, 100, 3)
            corners = np.concatenate([photo[i : i + 3, j : j + 3].ravel() for i in (0, 97) for j in (0, 97)])
            assert corners.min() >= 250, kind
            is_fruit = photo.min(axis=2) < 240
            rows, columns = np.nonzero(is_fruit.any(axis=1))[0], np.nonzero(is_fruit.any(axis=0))[0]
            assert 90 <= max(np.ptp(rows), np.ptp(columns)) < 99, kind  # it fills the frame
            assert abs(rows[0] + rows[-1] - 99) <= 4 and abs(columns[0] + columns[-1] - 99) <= 4, kind


def test_the_light_comes_from_the_upper_left(sample: Path) -> None:
    for photo in read_photos(sample / "Orange"):
        assert photo[25:40, 25:40].mean() > photo[60:75, 60:75].mean() + 10


def test_frames_of_a_kind_differ(sample: Path) -> None:
    for kind in KINDS:
        photos = np.stack(read_photos(sample / kind)).astype(float)
        steps = np.abs(np.diff(photos, axis=0)).mean(axis=(1, 2, 3))
        assert steps.min() > 1, kind  # more than the noise of the sensor


def test_skin_turns_with_the_fruit() -> None:
    front, back = (np.asarray(photo, float) for photo in list(render_kind("Watermelon", SMALL))[:2])
    assert np.abs(front - back).max() > 60  # stripes come where none were


def test_kinds_are_separable_by_colour(sample: Path) -> None:
    histograms = {kind: [colour_histogram(photo) for photo in read_photos(sample / kind)] for kind in KINDS}
    centroids = np.stack([np.mean(histograms[kind][0::2], axis=0) for kind in KINDS])
    held_out = np.stack([histogram for kind in KINDS for histogram in histograms[kind][1::2]])
    nearest = np.linalg.norm(held_out[:, None] - centroids, axis=2).argmin(axis=1)
    assert (nearest == np.repeat(np.arange(len(KINDS)), 3)).mean() > 0.9


def test_every_photo_says_it_is_synthetic(sample: Path) -> None:
    assert "not photographs of real fruit" in (sample / ABOUT_NAME).read_text(encoding="utf-8")
    for kind in KINDS:
        with Image.open(sample / kind / "0_100.jpg") as photo:
            assert photo.info["comment"].decode() == COMMENT
            assert photo.getexif()[0x010E] == COMMENT


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        render_sample(tmp_path / name, SampleOptions(per_kind=2, size_px=24, seed=seed))
    first, again, other = (read_bytes(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys() and all(first[path] != other[path] for path in first)


def test_a_former_sample_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    render_sample(tmp_path, SMALL)
    (tmp_path / "Apple" / "mine.jpg").write_bytes(b"mine")
    render_sample(tmp_path, SampleOptions(per_kind=1, size_px=16))
    assert {path.name for path in (tmp_path / "Apple").iterdir()} == {"0_16.jpg", "mine.jpg"}
    assert {path.name for path in (tmp_path / "Pear").iterdir()} == {"0_16.jpg"}


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "Apple").mkdir()
    (tmp_path / "Apple" / "0_100.jpg").write_bytes(b"a real photo")
    with pytest.raises(ResultError, match="not empty"):
        render_sample(tmp_path, SMALL)
    (tmp_path / ABOUT_NAME).write_text("About my orchard")
    with pytest.raises(ResultError, match="not empty"):
        render_sample(tmp_path, SMALL)
    assert (tmp_path / "Apple" / "0_100.jpg").read_bytes() == b"a real photo"
    assert (tmp_path / ABOUT_NAME).read_text() == "About my orchard"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ResultError, match="is a file"):
        render_sample(tmp_path / "out", SMALL)
    with pytest.raises(ResultError, match="cannot write"):
        render_sample(tmp_path / "out" / "below", SMALL)


@pytest.mark.parametrize(
    ("key", "value"), [("per_kind", 0), ("per_kind", -1), ("size_px", 15), ("size_px", 513), ("seed", -1)]
)
def test_bad_options_name_key_and_value(key: str, value: int) -> None:
    with pytest.raises(SettingsError, match=rf"{key} = {value} is not valid"):
        SampleOptions(**{key: value})


def test_an_unknown_kind_lists_the_valid_ones() -> None:
    with pytest.raises(SettingsError, match=r"kind = 'Durian' is not valid: expected one of Apple, Avocado"):
        next(render_kind("Durian", SMALL))
