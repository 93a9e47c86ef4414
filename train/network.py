"""fruitnet's architecture: a small stack of fused inverted residuals.

Each block is a full 3 x 3 convolution that widens and a 1 x 1 that narrows again, as in the early stages of
EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298). There are no depthwise convolutions: on a processor their
training is four times as slow as that of dense ones with the same inference time
(docs/adr/0005-dense-convolutions-for-fruitnet.md).
"""

from __future__ import annotations

from typing import Any

import keras

# Channels and blocks of each stage; a stage halves the picture.
_STEM = 16
_STAGES = ((24, 1), (48, 2), (96, 3), (192, 2))
_EXPANSION = 2
N_FEATURES = 1280
_BN_MOMENTUM = 0.99


def build_backbone(size_px: int, *, is_channels_first: bool = False) -> Any:
    """Return the network without its heads: pixels in -1..1 in, (n, 1280) features out."""
    data_format = "channels_first" if is_channels_first else "channels_last"
    keras.backend.set_image_data_format(data_format)
    axis = 1 if is_channels_first else -1
    pixels = keras.Input((3, size_px, size_px) if is_channels_first else (size_px, size_px, 3))
    x = _conv(pixels, _STEM, size=3, stride=2, axis=axis)
    for width, n_blocks in _STAGES:
        for block in range(n_blocks):
            x = _block(x, width, stride=2 if block == 0 else 1, axis=axis)
    x = _conv(x, N_FEATURES, size=1, stride=1, axis=axis)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x), name="backbone")


def _block(x: Any, width: int, *, stride: int, axis: int) -> Any:
    inner = max(x.shape[axis] * _EXPANSION, width)
    y = _conv(x, inner, size=3, stride=stride, axis=axis)
    y = _conv(y, width, size=1, stride=1, axis=axis, is_linear=True)
    return keras.layers.Add()([x, y]) if stride == 1 else y


def _conv(x: Any, width: int, *, size: int, stride: int, axis: int, is_linear: bool = False) -> Any:
    x = keras.layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(axis=axis, momentum=_BN_MOMENTUM)(x)
    return x if is_linear else keras.layers.ReLU()(x)
