"""Keras' own float32 prediction, by its JAX backend: a second implementation, without TensorFlow.

KERAS_BACKEND=jax python -m tests.support.keras_reference SEED FOLDER MODEL:POOLING...

reads FOLDER/MODEL-pixels.npy and writes FOLDER/MODEL-features.npy.
"""

from __future__ import annotations

import sys

import keras
import numpy as np

from verger.kernel.networks.weights import seed_weights

MODULES = {"VGG16": "vgg16", "ResNet50": "resnet", "EfficientNetB0": "efficientnet", "MobileNetV2": "mobilenet_v2"}


def predict(model: str, pooling: str, seed: int, pixels: np.ndarray) -> np.ndarray:
    """Return the features of (n, height, width, 3) uint8 pixels, on seeded random weights."""
    application = getattr(keras.applications, model)
    options = {"include_top": False, "weights": None, "input_shape": pixels.shape[1:]}
    network = application(pooling=None if pooling == "flatten" else pooling, **options)
    seed_weights(network, seed)
    preprocess = getattr(keras.applications, MODULES[model]).preprocess_input
    features = np.asarray(network.predict(preprocess(pixels.astype(np.float32)), batch_size=4, verbose=0))
    return features.reshape(len(pixels), -1)


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    seed, folder, *cases = sys.argv[1:]
    for name, pooling in (case.split(":") for case in cases):
        pixels = np.load(f"{folder}/{name}-pixels.npy")
        np.save(f"{folder}/{name}-features.npy", predict(name, pooling, int(seed), pixels))
