"""Name the fruit in photos with a classifier, in this process, without an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verger.errors import DecodeError
from verger.kernel.classifier.classifier import NOT_SURE, Classifier, check_n_features
from verger.kernel.classifier.taxonomy import Taxon, taxon_named
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import CPU, prepare_network_on
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.view_sets import view_set_name
from verger.sources.content import read_photo


@dataclass(frozen=True)
class Prediction:
    """The most probable (label, probability) pairs of a photo, or `error` if it cannot be read.

    taxon: species, names and variety of the most probable label, if the classifier was trained on taxa.
    """

    path: str
    best: tuple[tuple[str, float], ...] = ()
    is_sure: bool = False
    taxon: Taxon | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The most probable label, or "not sure" if its probability is below the classifier's threshold."""
        return self.best[0][0] if self.is_sure else NOT_SURE


def predict(
    photos: Iterable[str | Path], classifier: Classifier, *, top: int = 3, views: str | int | None = None
) -> Iterator[Prediction]:
    """Yield the prediction for each photo: a path, or a URI of a file or an object.

    top: number of (label, probability) pairs. views: see NetworkSpec; None: the same as in training. Raises
    SettingsError if there are no such views, WeightsError if the weights of the classifier's network are not
    available, ClassifierError if this network computes vectors of another length than in training.
    """
    spec = NetworkSpec(**classifier.network)
    if views is not None:
        spec = replace(spec, views=view_set_name(views))
    extractor = Extractor(prepare_network_on(spec, CPU, batch_size=1))
    check_n_features(classifier, extractor.n_features)
    for path in map(str, photos):
        try:
            yield _predict_one(path, read_photo(path), classifier, extractor, top)
        except DecodeError as error:
            yield Prediction(path, error=str(error))


def _predict_one(path: str, data: bytes, classifier: Classifier, extractor: Extractor, top: int) -> Prediction:
    vector = featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled").features
    probabilities = classifier.probabilities(vector[None])[0]
    best = tuple((classifier.labels[i], float(probabilities[i])) for i in (-probabilities).argsort()[:top])
    taxon = taxon_named(best[0][0]) if classifier.about.get("taxonomy") else None
    return Prediction(path, best, best[0][1] >= classifier.threshold, taxon)
