from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.support.chain import wait_until
from tests.support.networks import N_FEATURES, save_tiny_onnx
from verger.errors import WeightsError
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import imagenet_file, prepare_network

MAKE_OWN_KERAS = """
import sys, keras
keras.utils.set_random_seed(0)
x = inputs = keras.Input((32, 32, 3))
x = keras.layers.Conv2D(5, 3, strides=4, activation="relu")(x)
model = keras.Model(inputs, x)
model.save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def own_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.keras"
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", MAKE_OWN_KERAS, str(path)], env=env, check=True)
    return path


@pytest.mark.parametrize(("pooling", "width"), [("avg", 5), ("max", 5), ("flatten", 8 * 8 * 5)])
def test_an_own_keras_model_is_pooled_as_asked(own_keras: Path, pooling: str, width: int) -> None:
    network = prepare_network(NetworkSpec(model=str(own_keras), pooling=pooling))
    assert network.size_px == (32, 32)
    assert network.n_features == width
    assert np.isfinite(Extractor(network)(np.full((32, 32, 3), 200, np.uint8))).all()


def test_pooling_agrees_with_the_flattened_maps(own_keras: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    vectors = {
        pooling: Extractor(prepare_network(NetworkSpec(model=str(own_keras), pooling=pooling)))(pixels)
        for pooling in ("avg", "max", "flatten")
    }
    maps = vectors["flatten"].reshape(64, 5)
    np.testing.assert_allclose(vectors["avg"], maps.mean(0), rtol=1e-5)
    np.testing.assert_allclose(vectors["max"], maps.max(0), rtol=1e-5)


def test_an_own_onnx_model_sees_rgb_values_and_its_preprocessing(tiny_model: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 255
    plain = Extractor(prepare_network(NetworkSpec(model=tiny_model)))(pixels)
    mixes = np.random.default_rng(0).normal(size=(N_FEATURES, 3, 1, 1))[:, :, 0, 0]
    np.testing.assert_allclose(plain, np.maximum(mixes @ [255, 0, 0], 0), rtol=1e-4)
    scaled = Extractor(prepare_network(NetworkSpec(model=tiny_model, preprocessing="tf")))(pixels)
    np.testing.assert_allclose(scaled, np.maximum(mixes @ [1, -1, -1], 0), rtol=1e-4)


def test_a_converted_network_is_cached_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "own.onnx"
    save_tiny_onnx(model, 8)
    first = prepare_network(NetworkSpec(model=str(model)))
    again = prepare_network(NetworkSpec(model=str(model)))
    assert (first.key, first.graphs) == (again.key, again.graphs)
    assert len(list((tmp_path / "cache" / "networks").iterdir())) == 1
    save_tiny_onnx(model, 16)
    assert prepare_network(NetworkSpec(model=str(model))).size_px == (16, 16)


@pytest.mark.slow
def test_seeded_weights_are_the_same_each_time_and_others_with_another_seed() -> None:
    def hash_of(seed: int) -> str:
        return prepare_network(NetworkSpec("MobileNetV2", f"random:{seed}")).weights_sha256

    assert hash_of(3) == hash_of(3) != hash_of(4)


@pytest.mark.slow
def test_saved_weights_of_an_architecture_are_loaded(tmp_path: Path) -> None:
    save = (
        "import sys, keras; from verger.kernel.networks.weights import seed_weights;"
        "m = keras.applications.MobileNetV2("
        "include_top=False, weights=None, input_shape=(224, 224, 3), pooling='avg');"
        "seed_weights(m, 3); m.save_weights(sys.argv[1])"
    )
    path = tmp_path / "mine.weights.h5"
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", save, str(path)], env=env, check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    loaded = Extractor(prepare_network(NetworkSpec(weights=str(path))))(pixels)
    seeded = Extractor(prepare_network(NetworkSpec(weights="random:3")))(pixels)
    np.testing.assert_allclose(loaded, seeded, rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsError, match="do not fit VGG16"):
        prepare_network(NetworkSpec("VGG16", str(path)))


def test_unavailable_imagenet_weights_are_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that refuses: the same as no network, on machines that have one.
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as caught:
        prepare_network(NetworkSpec("NASNetMobile"))
    for remedy in (str(tmp_path / "keras" / "models"), "KERAS_HOME", "--weights PATH", "--weights random:0"):
        assert remedy in str(caught.value)
    assert not list((tmp_path / "cache" / "networks").iterdir()), "a failed conversion must leave nothing"


# Keras fetches MobileNetV2's weights, of which it knows no hash, from the address that is named.
_FETCH = """
import sys
from keras.src.applications import mobilenet_v2
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.weights import build_with_weights
mobilenet_v2.BASE_WEIGHT_PATH = sys.argv[1]
build_with_weights(NetworkSpec("MobileNetV2"))
"""


class _Halting(BaseHTTPRequestHandler):
    """Sends all it is asked for, but halts half-way the first time."""

    content = bytes(200_000)
    is_half_sent = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        half = len(self.content) // 2
        self.wfile.write(self.content[:half])
        if not self.is_half_sent.is_set():
            self.is_half_sent.set()
            self.rfile.read()  # until the other side is gone
            return
        self.wfile.write(self.content[half:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_weights_whose_download_is_killed_are_not_taken_for_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Halting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = [sys.executable, "-c", _FETCH, f"http://127.0.0.1:{server.server_port}/"]
        env = {**os.environ, "KERAS_BACKEND": "openvino"}
        with subprocess.Popen(words, env=env) as killed:
            assert _Halting.is_half_sent.wait(timeout=120)
            wait_until(lambda: any(path.is_file() for path in tmp_path.rglob("*")))
            killed.kill()
        assert not imagenet_file().exists()
        subprocess.run(words, env=env, capture_output=True, check=False)  # zeros are no weights, but they are all
        server.shutdown()
    assert imagenet_file().read_bytes() == _Halting.content


@pytest.mark.parametrize("name", ["broken.keras", "broken.onnx"])
def test_a_file_that_is_no_model_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a model")
    with pytest.raises(WeightsError, match=name):
        prepare_network(NetworkSpec(model=str(tmp_path / name)))
    with pytest.raises(WeightsError, match="there is no such file"):
        prepare_network(NetworkSpec(weights=str(tmp_path / "absent.h5")))


def test_bf16_is_close_and_not_equal(shared: Path) -> None:
    flags = Path("/proc/cpuinfo").read_text()
    if "avx512_bf16" not in flags and "amx_bf16" not in flags:
        pytest.skip("this processor has no bf16: the hint changes nothing")
    pixels = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    exact = Extractor(prepare_network(NetworkSpec()))(pixels)
    fast = Extractor(prepare_network(NetworkSpec(precision="bf16")))(pixels)
    cosine = exact @ fast / np.linalg.norm(exact) / np.linalg.norm(fast)
    assert 0.9 < cosine < 0.99999


# In a process of its own, as Keras takes one backend a process.
_CONVERT = """
import json, sys
from pathlib import Path
from verger.kernel.networks import convert
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.weights import build
for name in sys.argv[2:]:
    graph = convert.export_keras(build(NetworkSpec(name, "random:0")), Path(sys.argv[1]))
    print(json.dumps([name, list(graph.output(0).shape)]), flush=True)
"""


@pytest.mark.slow
def test_every_architecture_converts(tmp_path: Path) -> None:
    """Building is what may fail (a channels-first kernel Keras refuses); weights and speed do not matter."""
    from verger.kernel.networks.catalog import CATALOG

    large = ("Large", "XLarge", "B6", "B7", "V2L", "V2M")
    small = [name for name, known in CATALOG.items() if known.is_from_keras and not name.endswith(large)]
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, str(tmp_path), *small],
        env={**os.environ, "KERAS_BACKEND": "openvino"},
        capture_output=True,
        text=True,
        check=False,
    )
    results = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert done.returncode == 0, f"after {list(results)}: {done.stderr[-2000:]}"
    assert results == {name: [1, CATALOG[name].n_features] for name in small}
