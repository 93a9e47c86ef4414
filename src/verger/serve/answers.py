"""The answers of the service: the models that its OpenAPI document shows, and how a recognition becomes one."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from verger.kernel.classifier.classifier import NOT_FRUIT, Classifier
from verger.kernel.classifier.taxonomy import Taxon, taxon_labelled
from verger.serve.fruits import Fruits, FruitSummary
from verger.serve.languages import Language
from verger.serve.recognizer import Recognition, Recognizer

Decision = Literal["sure", "unsure", "not_a_fruit"]

_N_CANDIDATES = 5
_N_WITH_FACTS = 3


class Answer(BaseModel):
    """Base class of the answers' parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variety(Answer):
    """A variety of the species, named only if the classifier is sure of it."""

    name: str
    probability: float = Field(ge=0, le=1, description="of the variety among all fruits")


class Candidate(Answer):
    """A species that the photos may show."""

    species: str = Field(description="key of the species, for /v1/fruits/{id}", examples=["banana"])
    name: str = Field(examples=["Banana"])
    latin: str | None = Field(examples=["Musa acuminata"])
    probability: float = Field(ge=0, le=1, description="calibrated: of answers with 0.8, about 80 % are right")
    variety: Variety | None
    facts: FruitSummary | None


class PhotoInfo(Answer):
    """A photo of the request as the service has read it."""

    sha256: str
    width: int
    height: int


class Versions(Answer):
    """What an answer was computed with."""

    model: str = Field(examples=["EfficientNetLite2-9656183e"])
    classifier: str = Field(examples=["ab12cd34"])
    facts: str = Field(examples=["2026-11-30"])


class Identification(Answer):
    """The answer for one to five photos of one fruit."""

    decision: Decision
    candidates: list[Candidate]
    probability_not_a_fruit: float = Field(ge=0, le=1)
    photos: list[PhotoInfo]
    versions: Versions


def answer(recognition: Recognition, recognizer: Recognizer, fruits: Fruits, language: Language) -> Identification:
    """Return the answer for a recognition, in a language."""
    classifier, decisions = recognizer.classifier, recognition.decisions
    shares, levels = decisions.ranked.species[0], classifier.levels
    order = (-shares).argsort(kind="stable")
    fruit_order = [int(i) for i in order if levels.is_fruit[i]][:_N_CANDIDATES]
    candidates = [
        _candidate(classifier, index, float(shares[index]), fruits, language, has_facts=place < _N_WITH_FACTS)
        for place, index in enumerate(fruit_order)
    ]
    if candidates and decisions.names_label[0]:
        candidates[0] = candidates[0].model_copy(update={"variety": _variety(recognition, classifier)})
    decision = decisions.describe(0)
    return Identification(
        decision="not_a_fruit" if decision == NOT_FRUIT else decision,  # type: ignore[arg-type]
        candidates=candidates,
        probability_not_a_fruit=min(1.0, float(shares[~levels.is_fruit].sum())),
        photos=[PhotoInfo(sha256=p.sha256, width=p.width, height=p.height) for p in recognition.photos],
        versions=Versions(
            model=recognizer.model_version, classifier=recognizer.classifier_version, facts=fruits.version
        ),
    )


def _candidate(
    classifier: Classifier, species: int, probability: float, fruits: Fruits, language: Language, *, has_facts: bool
) -> Candidate:
    label = classifier.labels[int((classifier.levels.species_of == species).argmax())]
    taxon = taxon_labelled(label)
    english = classifier.levels.species[species]
    key = taxon.species if taxon else english.casefold().replace(" ", "-")
    return Candidate(
        species=key,
        name=_name(taxon, language) or english,
        latin=taxon.latin if taxon else None,
        probability=probability,
        variety=None,
        facts=fruits.summary(key, language) if has_facts else None,
    )


def _name(taxon: Taxon | None, language: Language) -> str | None:
    if taxon is None:
        return None
    return taxon.french if language == "fr" else taxon.english


def _variety(recognition: Recognition, classifier: Classifier) -> Variety | None:
    """Return the named variety; None if the label is the species itself."""
    ranked = recognition.decisions.ranked
    label = classifier.labels[ranked.variety[0]]
    taxon = taxon_labelled(label)
    if taxon is None or not taxon.variety:
        return None
    return Variety(name=taxon.variety, probability=float(ranked.labels[0, ranked.variety[0]]))
