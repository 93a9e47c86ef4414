"""The classifier that `verger train` writes: load it, save it, compute probabilities. With numpy only."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from verger.errors import ClassifierError
from verger.kernel.classifier.levels import Candidates, Levels, levels_of
from verger.kernel.classifier.transforms import NONE, TRANSFORMS, transform
from verger.storage.uri import AnyPath, any_path

FILE_NAME = "classifier.npz"

# The decisions about a photo: the species is named; the species is not named; there is no fruit.
SURE, UNSURE, NOT_FRUIT = "sure", "unsure", "not a fruit"

_MODELS = Path(__file__).parents[2] / "models"
# The classifiers in verger's package: their names and folders.
BUNDLED = {"EfficientNetLite2": _MODELS / "lite2", "fruitnet": _MODELS / "fruitnet"}
DEFAULT = "EfficientNetLite2"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """Softmax of linear functions of feature vectors, calibrated by a temperature (Guo et al. 2017).

    coef, intercept: (n_classes, n_features) and (n_classes,) float32. The scaling and the PCA of the training are
    included in these numbers, so the input is the network's features.
    threshold: if the most probable species has a lower probability, the decision is "unsure".
    variety_threshold: the variety of a named species is named too if its share of the species' probability is at
        least this, or if it is the only one, and if no label of another species is more probable.
    network: the settings of the network that computes the features, with the keys that a manifest uses.
    about: what the classifier was trained on.
    transform: the name of the transform of features (see TRANSFORMS) that precedes the linear functions. Files of
        versions without transforms have none. Raises ClassifierError for an unknown name.
    """

    labels: tuple[str, ...]
    coef: Floats
    intercept: Floats
    temperature: float
    threshold: float
    network: dict[str, Any]
    about: dict[str, Any]
    transform: str = NONE
    variety_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ClassifierError(
                f"the classifier needs the transform {self.transform!r} of features; this version of verger has "
                f"{', '.join(TRANSFORMS)}: use the version that trained the classifier, or train it again"
            )

    def logits(self, features: Floats) -> Floats:
        """Return (n, n_classes) uncalibrated scores of (n, n_features) vectors."""
        return np.asarray(transform(self.transform, features) @ self.coef.T + self.intercept, np.float32)

    def probabilities(self, features: Floats) -> Floats:
        """Return (n, n_classes) calibrated probabilities of (n, n_features) vectors."""
        return softmax(self.logits(features) / self.temperature)

    @property
    def levels(self) -> Levels:
        """The species of each label."""
        return levels_of(self.labels)

    def decide(self, probabilities: Floats) -> Decisions:
        """Return the decisions about n photos from their (n, n_classes) calibrated probabilities."""
        ranked = self.levels.rank(probabilities)
        is_sure = ranked.is_fruit & (ranked.share >= self.threshold)
        has_choice = self.levels.n_varieties[ranked.best] > 1
        lowest = np.where(has_choice, self.variety_threshold, 0)
        return Decisions(ranked, is_sure, is_sure & (ranked.variety_share >= lowest))

    def save(self, path: AnyPath) -> None:
        """Write an .npz file without pickled objects."""
        attributes = {
            "labels": self.labels,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "variety_threshold": self.variety_threshold,
            "network": self.network,
            "about": self.about,
            "transform": self.transform,
        }
        with io.BytesIO() as file:
            text = np.array(json.dumps(attributes))
            np.savez_compressed(file, coef=self.coef, intercept=self.intercept, attributes=text)
            path.write_bytes(file.getvalue())


@dataclass(frozen=True)
class Decisions:
    """What a classifier decides about n photos.

    is_sure: (n,) whether the most probable species is named. names_label: (n,) whether its label is named too.
    """

    ranked: Candidates
    is_sure: npt.NDArray[np.bool_]
    names_label: npt.NDArray[np.bool_]

    def describe(self, photo: int) -> str:
        """Return the decision about one photo: SURE, UNSURE or NOT_FRUIT."""
        if not self.ranked.is_fruit[photo]:
            return NOT_FRUIT
        return SURE if self.is_sure[photo] else UNSURE


def classifier_path(name: str | None) -> AnyPath:
    """Return the path of a classifier: a path or URI, or the name of a bundled classifier; None means the default.

    A name means a bundled classifier only if there is no file or folder with this name.
    """
    if name is None:
        return BUNDLED[DEFAULT]
    path = any_path(name)
    return BUNDLED[name] if name in BUNDLED and not path.exists() else path


def load_classifier(path: AnyPath | None = None) -> Classifier:
    """Load a classifier from a file or from the folder of a `verger train` result; None loads the default.

    Raises ClassifierError.
    """
    path = classifier_path(None) if path is None else path
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise ClassifierError(
            f"{path} holds no classifier: expected a result of `verger train`, its {FILE_NAME}, or the name of a "
            f"bundled classifier: {', '.join(BUNDLED)}"
        )
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            # Earlier versions gave the JSON array another name.
            (name,) = set(arrays.files) - {"coef", "intercept"}
            attributes = json.loads(str(arrays[name]))
            coef, intercept = arrays["coef"].astype(np.float32), arrays["intercept"].astype(np.float32)
        attributes["network"] = _with_graph_path(file, attributes["network"])
        return Classifier(labels=tuple(attributes.pop("labels")), coef=coef, intercept=intercept, **attributes)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise ClassifierError(f"{file} is not a classifier file of verger: {error}") from error


def _with_graph_path(file: AnyPath, network: dict[str, Any]) -> dict[str, Any]:
    """Return a network's settings; if `model` is a file in the classifier's folder, its path becomes absolute."""
    if not isinstance(file, Path):
        return network
    graph = file.resolve().parent / str(network.get("model"))
    return network | {"model": str(graph)} if graph.is_file() else network


def check_n_features(classifier: Classifier, n_features: int) -> None:
    """Raise ClassifierError if the classifier was trained on vectors of another length."""
    expected = classifier.coef.shape[1]
    if n_features != expected:
        network = classifier.network.get("model", "?")
        raise ClassifierError(
            f"the classifier takes {expected} features of {network}, but these vectors have {n_features}: "
            "featurize the photos with the network on which the classifier was trained"
        )


def check_weights(classifier: Classifier, weights_sha256: str | None, origin: str) -> None:
    """Raise ClassifierError if the classifier was trained on features of other weights.

    weights_sha256: of the network that computed the features; nothing is checked if one of both is unknown. origin:
    where these weights come from, for the message.
    """
    expected = classifier.about.get("weights_sha256")
    if None not in (expected, weights_sha256) and expected != weights_sha256:
        raise ClassifierError(
            f"the classifier was trained on features of {classifier.network.get('model', '?')} with other weights "
            f"({str(expected)[:8]}...) than those of {origin} ({str(weights_sha256)[:8]}...): train it again"
        )


def softmax(logits: Floats) -> Floats:
    """Return the softmax of each row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
