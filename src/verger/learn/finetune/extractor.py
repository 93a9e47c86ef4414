"""The feature extractor as a Keras model: pixels in, pooled features out, in either layout.

Training needs channels_last, which TensorFlow's convolutions on a CPU are limited to; inference in our chain
is several times faster channels_first (see verger.kernel.networks.convert). The weights are the same arrays in the
same order in both, so the one is trained and the other saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import SettingsError
from verger.kernel.networks import convert
from verger.kernel.networks.catalog import CATALOG, IMAGENET, NetworkSpec
from verger.kernel.networks.weights import build_with_weights
from verger.learn.finetune.finetune_options import FinetuneOptions

Weights = list[npt.NDArray[np.float32]]

LAYOUTS = ("channels_first", "channels_last")


def start_weights(options: FinetuneOptions) -> tuple[Weights, str]:
    """Return the backbone's weights to start from, and where they are from. Raises WeightsError.

    Read at the catalog's input size, whatever ours is: they do not depend on it, the names of their files do.
    """
    model, source = build_with_weights(NetworkSpec(options.model, options.weights))
    return model.get_weights(), source.weights_from


def build_extractor(options: FinetuneOptions, weights: Weights, layout: str) -> Any:
    """Return the extractor: (size, size, 3) RGB values of 0 to 255 in, (n_features,) out.

    Raises SettingsError for a size that the architecture refuses, and what Keras raises for a layout it refuses.
    """
    import keras

    keras.backend.set_image_data_format(layout)
    size = options.input_px
    shape = (3, size, size) if layout == "channels_first" else (size, size, 3)
    # With ImageNet's weights Keras builds an EfficientNet with one layer more, a Rescaling.
    has_more = options.model.startswith("EfficientNetB") and options.weights == IMAGENET
    try:
        backbone = getattr(keras.applications, options.model)(
            include_top=False, weights=IMAGENET if has_more else None, input_shape=shape, pooling="avg"
        )
    except ValueError as error:
        if "at least" not in str(error):
            raise
        raise SettingsError("size_px", size, f"what {options.model} takes: {error}") from error
    backbone.set_weights(weights)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # else it goes on with what it began with
    pixels = keras.Input(shape, name="pixels")
    return keras.Model(pixels, backbone(_preprocess(pixels, options.model, layout)))


def backbone_of(extractor: Any) -> Any:
    """Return the keras.applications model within."""
    return extractor.layers[-1]


def _preprocess(pixels: Any, model: str, layout: str) -> Any:
    """Apply the catalog's preprocessing as a frozen 1 x 1 convolution: all kinds of it, in both layouts."""
    import keras

    kind = CATALOG[model].preprocessing
    if kind == "none":
        return pixels
    mean, scale = np.array(convert.MEANS[kind]), np.array(convert.SCALES[kind])
    mixes = np.diag(1 / scale)  # (in, out)
    if kind == "caffe":
        mixes = mixes[::-1]  # RGB in, BGR out
    layer = keras.layers.Conv2D(3, 1, data_format=layout, trainable=False, name="preprocessing")
    ready = layer(pixels)
    layer.set_weights([mixes[None, None], -mean / scale])
    return ready
