"""A trained classifier in numpy: what `verger train` writes, and all that naming a fruit needs. No Spark."""

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
from verger.storage.uri import AnyPath

FILE_NAME = "classifier.npz"
NOT_SURE = "not sure"

_BUNDLED = Path(__file__).parents[2] / "models" / "fruitnet"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression on feature vectors, calibrated by a temperature (Guo et al. 2017).

    coef (n_classes, n_features) and intercept (n_classes,) float32. Whatever scaling and PCA the training
    went through is folded in, so it takes features as the network gives them. An answer whose probability is
    below `threshold` is "not sure". `network` says whose features (a manifest's settings of the network),
    `about` what it was trained on.
    """

    labels: tuple[str, ...]
    coef: Floats
    intercept: Floats
    temperature: float
    threshold: float
    network: dict[str, Any]
    about: dict[str, Any]

    def logits(self, features: Floats) -> Floats:
        """Return (n, n_classes) uncalibrated scores of (n, n_features) vectors."""
        return np.asarray(features @ self.coef.T + self.intercept, np.float32)

    def probabilities(self, features: Floats) -> Floats:
        """Return (n, n_classes) calibrated probabilities of (n, n_features) vectors."""
        return softmax(self.logits(features) / self.temperature)

    def save(self, path: AnyPath) -> None:
        """Write one .npz without pickles."""
        told = {
            "labels": self.labels,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "network": self.network,
            "about": self.about,
        }
        with io.BytesIO() as file:
            np.savez_compressed(file, coef=self.coef, intercept=self.intercept, told=np.array(json.dumps(told)))
            path.write_bytes(file.getvalue())


def load_classifier(path: AnyPath | None = None) -> Classifier:
    """Read a classifier: the file, or the result it lies in, or the one bundled; raises ClassifierError."""
    path = path or _BUNDLED
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise ClassifierError(
            f"{path} holds no classifier: expected a result of `verger train`, or its {FILE_NAME}"
        )
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
            told = json.loads(str(found["told"]))
            coef, intercept = found["coef"].astype(np.float32), found["intercept"].astype(np.float32)
        told["network"] = _beside(file, told["network"])
        return Classifier(labels=tuple(told.pop("labels")), coef=coef, intercept=intercept, **told)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise ClassifierError(f"{file} is not a classifier of verger's: {error}") from error


def _beside(file: AnyPath, network: dict[str, Any]) -> dict[str, Any]:
    """Return a network's settings with the path of a graph that lies beside the classifier, wherever that is."""
    if not isinstance(file, Path):
        return network
    graph = file.resolve().parent / str(network.get("model"))
    return network | {"model": str(graph)} if graph.is_file() else network


def check_width(classifier: Classifier, n_features: int) -> None:
    """Raise ClassifierError where vectors are not what the classifier was trained on."""
    wanted = classifier.coef.shape[1]
    if n_features != wanted:
        network = classifier.network.get("model", "?")
        raise ClassifierError(
            f"the classifier takes {wanted} features of {network}; these vectors have {n_features}: "
            "featurize the photos with the network the classifier was trained on"
        )


def softmax(logits: Floats) -> Floats:
    """Return the softmax of each row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
