"""Name the fruit in a photo: the chain's kernel and a classifier, without Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verger.errors import DecodeError
from verger.kernel.classifier.classifier import NOT_SURE, Classifier, check_width
from verger.kernel.classifier.taxonomy import Taxon, taxon_named
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import CPU, prepare_on
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.sources.content import read_photo


@dataclass(frozen=True)
class Named:
    """What a photo shows: the surest (label, probability) pairs, or `error` where it cannot be read.

    `taxon` tells more of the surest (species, Latin, English and French name, variety) where it is known.
    """

    path: str
    best: tuple[tuple[str, float], ...] = ()
    is_sure: bool = False
    taxon: Taxon | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The surest label, or "not sure"."""
        return self.best[0][0] if self.is_sure else NOT_SURE


def predict(
    photos: Iterable[Path], classifier: Classifier, *, top: int = 3, views: int | None = None
) -> Iterator[Named]:
    """Yield for every photo file what it shows; a file that cannot be read becomes an `error`.

    `views` of each photo are looked at, see NetworkSpec; as many as the classifier was trained with by default.
    Raises WeightsError where the classifier's network cannot be had, ClassifierError where it does not fit.
    """
    spec = NetworkSpec(**classifier.network)
    extractor = Extractor(prepare_on(spec if views is None else replace(spec, views=views), CPU, batch_size=1))
    check_width(classifier, extractor.n_features)
    for path in photos:
        try:
            yield _named(path, read_photo(str(path)), classifier, extractor, top)
        except DecodeError as error:
            yield Named(str(path), error=str(error))


def _named(path: Path, data: bytes, classifier: Classifier, extractor: Extractor, top: int) -> Named:
    vector = featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled").features
    shares = classifier.probabilities(vector[None])[0]
    best = tuple((classifier.labels[i], float(shares[i])) for i in (-shares).argsort()[:top])
    taxon = taxon_named(best[0][0]) if classifier.about.get("taxonomy") else None
    return Named(str(path), best, best[0][1] >= classifier.threshold, taxon)
