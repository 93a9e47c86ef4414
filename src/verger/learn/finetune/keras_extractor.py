"""The feature extractor as a Keras model in either layout: pixels in, pooled features out.

Training needs channels_last, because TensorFlow's convolutions on a CPU support no other layout. verger's inference
is several times faster with channels_first (see verger.kernel.networks.convert). Both layouts have the same weights
in the same order, so a model is trained with channels_last and, if possible, saved with channels_first.
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
    """Return the backbone's start weights and their source. Raises WeightsError.

    Weights do not depend on the input size, but the names of their files do, so the catalog's size is used.
    """
    model, source = build_with_weights(NetworkSpec(options.model, options.weights))
    return model.get_weights(), source.weights_from


def build_extractor(options: FinetuneOptions, weights: Weights, layout: str) -> Any:
    """Return the extractor, which maps (size, size, 3) RGB values of 0 to 255 to (n_features,) features.

    Raises SettingsError if the architecture does not support the size, and Keras' own errors if it does not support
    the layout.
    """
    import keras

    keras.backend.set_image_data_format(layout)
    size = options.input_px
    shape = (3, size, size) if layout == "channels_first" else (size, size, 3)
    # With ImageNet weights Keras builds an EfficientNet with an additional Rescaling layer.
    has_rescaling = options.model.startswith("EfficientNetB") and options.weights == IMAGENET
    try:
        backbone = getattr(keras.applications, options.model)(
            include_top=False, weights=IMAGENET if has_rescaling else None, input_shape=shape, pooling="avg"
        )
    except ValueError as error:
        if "at least" not in str(error):
            raise
        raise SettingsError("size_px", size, f"a size that {options.model} supports ({error})") from error
    backbone.set_weights(weights)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # otherwise the layer keeps its initial statistics
    pixels = keras.Input(shape, name="pixels")
    return keras.Model(pixels, backbone(_preprocess(pixels, options.model, layout)))


def backbone_of(extractor: Any) -> Any:
    """Return the keras.applications model inside an extractor."""
    return extractor.layers[-1]


def _preprocess(pixels: Any, model: str, layout: str) -> Any:
    """Apply the preprocessing in the catalog as a frozen 1 x 1 convolution: this works in both layouts."""
    import keras

    kind = CATALOG[model].preprocessing
    if kind == "none":
        return pixels
    mean, scale = np.array(convert.MEANS[kind]), np.array(convert.SCALES[kind])
    mixes = np.diag(1 / scale)  # (in, out)
    if kind == "caffe":
        mixes = mixes[::-1]  # RGB in, BGR out
    layer = keras.layers.Conv2D(3, 1, data_format=layout, trainable=False, name="preprocessing")
    preprocessed = layer(pixels)
    layer.set_weights([mixes[None, None], -mean / scale])
    return preprocessed
