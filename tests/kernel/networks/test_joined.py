from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.support.networks import save_tiny_onnx
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import prepare_network


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    return Image.fromarray(coarse).resize((130, 90))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("networks") / "tiny.onnx"
    save_tiny_onnx(path, 8)
    return str(path)


def test_joined_networks_give_their_vectors_one_after_the_other(photo: Image.Image, tiny: str) -> None:
    each = [Extractor(prepare_network(NetworkSpec(model))).featurize(photo) for model in (tiny, "fruitnet")]
    network = prepare_network(NetworkSpec(f"{tiny}+fruitnet"))
    assert network.n_features == sum(len(vector) for vector in each)
    assert network.describe()["model"] == f"{tiny}+fruitnet"
    assert network.describe()["weights_from"] == f"{tiny}+bundled"
    np.testing.assert_array_equal(Extractor(network).featurize(photo), np.concatenate(each))


def test_five_views_are_the_whole_and_the_corners(photo: Image.Image, tiny: str) -> None:
    one = Extractor(prepare_network(NetworkSpec(f"{tiny}+fruitnet")))
    five = Extractor(prepare_network(NetworkSpec(f"{tiny}+fruitnet", views="5")))
    boxes = [(0, 0, 130, 90), *((x, y, x + 104, y + 72) for x in (0, 26) for y in (0, 18))]
    views = [one.featurize(photo.crop(box)) for box in boxes]
    assert np.ptp(views, axis=0).max() > 0.01, "the views must differ"
    np.testing.assert_allclose(five.featurize(photo), np.mean(views, axis=0), rtol=0.02, atol=1e-3)


def test_networks_with_other_views_have_other_keys(tiny: str) -> None:
    specs = [NetworkSpec(tiny), NetworkSpec(tiny, views="crops"), NetworkSpec(f"{tiny}+{tiny}")]
    assert len({prepare_network(spec).key for spec in specs}) == 3
