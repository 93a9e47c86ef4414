from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from verger.errors import SettingsError
from verger.kernel.networks.catalog import CATALOG, NetworkSpec

# What Keras says of itself, asked in a process of its own: here Keras may be on another backend.
ASK_KERAS = """
import inspect, json, keras, numpy as np
apps = {n: f for n, f in vars(keras.applications).items() if inspect.isfunction(f)}
probe = np.array([[[[0.0, 100.0, 255.0]]]], np.float32)
results = {}
for name, build in apps.items():
    module = inspect.getmodule(build)
    results[name] = np.asarray(module.preprocess_input(probe.copy())).ravel().tolist()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def keras_preprocessing() -> dict[str, list[float]]:
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", ASK_KERAS], env=env, capture_output=True, text=True, check=True)
    results: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return results


def test_the_catalog_holds_every_image_model_of_keras(keras_preprocessing: dict[str, list[float]]) -> None:
    assert {name for name, entry in CATALOG.items() if entry.is_from_keras} == set(keras_preprocessing)


def test_every_model_has_the_preprocessing_keras_gives_it(keras_preprocessing: dict[str, list[float]]) -> None:
    from verger.kernel.networks.convert import MEANS, SCALES

    probe = [0.0, 100.0, 255.0]
    for name, expected in keras_preprocessing.items():
        kind = CATALOG[name].preprocessing
        values = probe[::-1] if kind == "caffe" else probe
        if kind != "none":
            values = [(v - m) / s for v, m, s in zip(values, MEANS[kind], SCALES[kind], strict=True)]
        assert values == pytest.approx(expected, abs=1e-4), name


@pytest.mark.parametrize(
    ("given", "key", "valid"),
    [
        ({"model": "MobileNetV4"}, "model", "MobileNetV2"),
        ({"weights": "imagenette"}, "weights", "random:SEED"),
        ({"weights": "random:x"}, "weights", "random:SEED"),
        ({"pooling": "mean"}, "pooling", "avg, max, flatten"),
        ({"precision": "int8"}, "precision", "f32, bf16"),
        ({"preprocessing": "zero"}, "preprocessing", "caffe"),
        ({"model": "fruitnet", "weights": "imagenet"}, "weights", "bundled"),
        ({"model": "fruitnet", "pooling": "max"}, "pooling", "avg"),
        ({"model": "MobileNetV2", "weights": "bundled"}, "weights", "imagenet"),
        ({"model": "MobileNetV2+fruitnet", "weights": "imagenet"}, "weights", "joined networks use their defaults"),
        ({"model": "MobileNetV2+fruitnet", "pooling": "max"}, "pooling", "avg"),
        ({"model": "MobileNetV2+peach"}, "model", "fruitnet"),
        ({"model": "EfficientNetLite2", "weights": "mine.h5"}, "weights", "a path ending in .keras or .onnx"),
        ({"views": "four"}, "views", "whole, center, crops, 5"),
    ],
)
def test_a_bad_choice_names_key_value_and_the_valid_ones(given: dict[str, Any], key: str, valid: str) -> None:
    with pytest.raises(SettingsError) as caught:
        NetworkSpec(**given)
    assert caught.value.key == key
    assert repr(given[key]) in str(caught.value)
    assert valid in str(caught.value)


def test_a_plus_joins_only_where_both_sides_are_networks() -> None:
    assert [part.model for part in NetworkSpec("MobileNetV2+fruitnet+my.onnx").parts] == [
        "MobileNetV2",
        "fruitnet",
        "my.onnx",
    ]
    assert len(NetworkSpec("/c++/my.keras").parts) == 1


def test_an_own_model_is_taken_as_it_is_and_one_for_a_catalog_name_gets_its_preprocessing() -> None:
    assert NetworkSpec(model="my.keras").effective_preprocessing == "none"
    assert NetworkSpec(model="VGG16", weights="tuned.keras").effective_preprocessing == "caffe"
    assert NetworkSpec(model="my.onnx", preprocessing="torch").effective_preprocessing == "torch"
