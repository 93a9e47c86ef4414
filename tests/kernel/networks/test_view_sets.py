from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.camera import make_camera_photos
from PIL import Image

from tests.support.networks import save_tiny_onnx
from tests.support.photos import REAL, WHY_NO_REAL, paint
from verger.errors import SettingsError
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, Vector, featurize_photo
from verger.kernel.networks.network import prepare_network
from verger.kernel.networks.view_sets import VIEW_SETS, Box, pixel_boxes

ODD = (101, 67)
PIXEL_BOXES: dict[str, list[Box]] = {
    "whole": [(0, 0, 101, 67)],
    "center": [(12.625, 8.375, 88.375, 58.625)],
    "crops": [
        (12.625, 8.375, 88.375, 58.625),
        (0, 0, 60.6, 40.2),
        (40.4, 0, 101, 40.2),
        (0, 26.8, 60.6, 67),
        (40.4, 26.8, 101, 67),
    ],
    "5": [
        (0, 0, 101, 67),
        (0, 0, 80.8, 53.6),
        (20.2, 0, 101, 53.6),
        (0, 13.4, 80.8, 67),
        (20.2, 13.4, 101, 67),
    ],
}


def extractor_of(views: str, model: str = "fruitnet") -> Extractor:
    return Extractor(prepare_network(NetworkSpec(model, views=views)))


def cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def whole() -> Extractor:
    return extractor_of("whole")


@pytest.mark.parametrize("views", list(VIEW_SETS))
def test_each_set_has_its_boxes_on_a_photo_of_odd_size(views: str) -> None:
    np.testing.assert_allclose(pixel_boxes(VIEW_SETS[views], ODD), PIXEL_BOXES[views], rtol=1e-12)


@pytest.mark.parametrize("views", list(VIEW_SETS))
def test_a_vector_is_the_mean_of_the_vectors_of_the_resized_views(views: str, whole: Extractor) -> None:
    photo = paint(*ODD, 3)
    resized = [photo.resize(whole.size_px, Image.Resampling.BICUBIC, box) for box in PIXEL_BOXES[views]]
    expected = np.mean([whole.featurize(view) for view in resized], axis=0, dtype=np.float32)
    assert np.array_equal(extractor_of(views).featurize(photo), expected)


@pytest.mark.parametrize("views", list(VIEW_SETS))
def test_views_show_what_a_user_crops_by_hand(views: str, whole: Extractor) -> None:
    photo = paint(800, 600, 4)
    boxes = [tuple(map(round, box)) for box in pixel_boxes(VIEW_SETS[views], photo.size)]
    each = [whole.featurize(photo.crop(box)) for box in boxes]  # type: ignore[arg-type]
    found = extractor_of(views).featurize(photo)
    assert cosine(found, np.mean(each, axis=0)) > 0.9999
    if views != "whole":
        assert cosine(found, whole.featurize(photo)) < 0.9999, "the views must differ from the whole photo"


@pytest.mark.parametrize("views", list(VIEW_SETS))
def test_a_photo_of_one_pixel_has_a_vector(views: str) -> None:
    assert np.isfinite(extractor_of(views).featurize(paint(1, 1))).all()


@pytest.mark.parametrize(("views", "share"), [("whole", 1), ("center", 0.75), ("crops", 0.6), ("5", 0.8)])
def test_scaled_decoding_gives_each_view_three_times_the_largest_input(
    views: str, share: float, tmp_path: Path
) -> None:
    for size_px in (20, 40):
        save_tiny_onnx(tmp_path / f"{size_px}.onnx", size_px)
    joined = extractor_of(views, f"{tmp_path}/20.onnx+{tmp_path}/40.onnx")
    assert joined.min_decode_px == (round(3 * 40 / share), round(3 * 40 / share))


@pytest.mark.skipif(not REAL.is_dir(), reason=WHY_NO_REAL)
def test_scaled_decoding_of_large_photos_gives_nearly_the_exact_vectors(tmp_path: Path) -> None:
    make_camera_photos(tmp_path, 2)
    photos = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    for views in VIEW_SETS:
        extractor = extractor_of(views)
        for photo in photos:
            exact = featurize_photo(photo, extractor, max_pixels=DEFAULT_MAX_PIXELS)
            scaled = featurize_photo(photo, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled")
            assert 0.999 <= cosine(exact.features, scaled.features) < 1 - 1e-9, views


@pytest.mark.parametrize(
    ("given", "name"), [(1, "whole"), ("1", "whole"), (5, "5"), ("5", "5"), ("crops", "crops")]
)
def test_the_numbers_of_earlier_versions_are_names_too(given: Any, name: str) -> None:
    assert NetworkSpec("fruitnet", views=given) == NetworkSpec("fruitnet", views=name)
    assert NetworkSpec("fruitnet", views=given).views == name


def test_whole_and_5_have_the_keys_of_earlier_versions(whole: Extractor) -> None:
    keys = {views: prepare_network(NetworkSpec("fruitnet", views=views)).key for views in VIEW_SETS}
    assert keys["whole"].endswith("-f32-1") and keys["5"].endswith("-f32-5")
    assert len(set(keys.values())) == len(VIEW_SETS)


@pytest.mark.parametrize("value", [3, "3", "corner", "", True, 1.0])
def test_an_unknown_set_is_an_error_that_lists_the_sets(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"views = .*: expected one of .*whole, center, crops, 5"):
        NetworkSpec("fruitnet", views=value)
