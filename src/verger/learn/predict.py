"""Name the fruit in photos with a classifier, in this process, without an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verger.errors import DecodeError
from verger.kernel.classifier.classifier import (
    NOT_FRUIT,
    SURE,
    UNSURE,
    Classifier,
    Floats,
    check_n_features,
    check_weights,
)
from verger.kernel.classifier.taxonomy import Taxon, names_variety, taxon_labelled
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import CPU, prepare_network_on
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import Network
from verger.kernel.networks.view_sets import view_set_name
from verger.sources.content import read_photo

NOT_SURE = "not sure"


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo, or `error` if the photo cannot be read.

    decision: "sure" of the species, "unsure" or "not a fruit"; None if there is an error.
    species, best: the most probable (name, probability) pairs of species, and of labels. The probability of a
        species is the sum of its labels'.
    variety: the label within the species; None if the classifier is not sure of it, or if it names no variety.
    taxon: names of the most probable species, if the taxonomy of fruit has it; its variety is empty unless the
        classifier is sure of it.
    """

    path: str
    decision: str | None = None
    species: tuple[tuple[str, float], ...] = ()
    variety: str | None = None
    best: tuple[tuple[str, float], ...] = ()
    taxon: Taxon | None = None
    error: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the classifier is sure of the species."""
        return self.decision == SURE

    @property
    def is_unsure(self) -> bool:
        """Whether there is no answer: the classifier is not sure, or the photo cannot be read."""
        return self.decision in (UNSURE, None)

    @property
    def name(self) -> str:
        """The variety or the species if the classifier is sure of it, otherwise "not sure" or "not a fruit"."""
        if self.is_sure:
            return self.variety or self.species[0][0]
        return NOT_SURE if self.is_unsure else NOT_FRUIT


def predict(
    photos: Iterable[str | Path], classifier: Classifier, *, top: int = 3, views: str | int | None = None
) -> Iterator[Prediction]:
    """Yield the prediction for each photo: a path, or a URI of a file or an object.

    top: number of (name, probability) pairs. views: see NetworkSpec; None: the same as in training. Raises
    SettingsError if there are no such views, WeightsError if the weights of the classifier's network are not
    available, ClassifierError if this network has other weights, or computes vectors of another length, than in
    training.
    """
    extractor = Extractor(prepare_classifier_network(classifier, views))
    for path in map(str, photos):
        try:
            yield _predict_one(path, read_photo(path), classifier, extractor, top)
        except DecodeError as error:
            yield Prediction(path, error=str(error))


def prepare_classifier_network(classifier: Classifier, views: str | int | None = None) -> Network:
    """Return the network of a classifier's features, for one photo a call; raises the errors of `predict`."""
    spec = NetworkSpec(**classifier.network)
    if views is not None:
        spec = replace(spec, views=view_set_name(views))
    network = prepare_network_on(spec, CPU, batch_size=1)
    check_n_features(classifier, network.n_features)
    check_weights(classifier, network.weights_sha256, f"this version of {network.model}")
    return network


def _predict_one(path: str, data: bytes, classifier: Classifier, extractor: Extractor, top: int) -> Prediction:
    vector = featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled").features
    levels = classifier.levels
    decisions = classifier.decide(classifier.probabilities(vector[None]))
    ranked = decisions.ranked
    label = classifier.labels[ranked.variety[0]]
    taxon = taxon_labelled(label)
    if taxon is not None and not decisions.names_label[0]:
        taxon = replace(taxon, variety="")
    return Prediction(
        path,
        decision=decisions.describe(0),
        species=_best(levels.species, ranked.species[0], top),
        variety=label if decisions.names_label[0] and names_variety(label) else None,
        best=_best(classifier.labels, ranked.labels[0], top),
        taxon=taxon,
    )


def _best(names: tuple[str, ...], probabilities: Floats, top: int) -> tuple[tuple[str, float], ...]:
    return tuple((names[i], float(probabilities[i])) for i in (-probabilities).argsort(kind="stable")[:top])
