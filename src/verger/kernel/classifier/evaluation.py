"""Evaluation of a classifier's answers at both levels: labels, and species."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.kernel.classifier.classifier import Classifier, Floats
from verger.kernel.classifier.levels import Levels
from verger.kernel.classifier.metrics import Answers, Flags, evaluate_answers
from verger.kernel.classifier.truth import truth_of


@dataclass(frozen=True)
class Judgement:
    """A classifier's answers for n labelled photos, with the truth.

    labels, species: the answers at each level.
    names_label: (n,) whether the photo counts for labels too (see Truth).
    is_sure: (n,) whether a species is named. is_label_sure: (n,) whether a label is named.
    is_fruit: (n,) whether the photo shows a fruit.
    """

    labels: Answers
    species: Answers
    names_label: Flags
    is_sure: Flags
    is_label_sure: Flags
    is_fruit: Flags

    @classmethod
    def of(cls, classifier: Classifier, probabilities: Floats, labels: Sequence[str]) -> Judgement:
        """Judge (n, n_classes) calibrated probabilities of n photos with these labels, of any data set."""
        decisions = classifier.decide(probabilities)
        meanings = {label: truth_of(label, classifier.levels) for label in set(labels)}
        truths = [meanings[label] for label in labels]
        return cls(
            Answers.from_probabilities(decisions.ranked.labels, np.array([t.label for t in truths], np.int64)),
            Answers.from_probabilities(decisions.ranked.species, np.array([t.species for t in truths], np.int64)),
            np.array([t.names_label for t in truths], bool),
            decisions.is_sure,
            decisions.names_label,
            np.array([t.is_fruit for t in truths], bool),
        )

    @classmethod
    def concatenate(cls, parts: list[Judgement]) -> Judgement:
        """Return the judgement of all photos, in order."""
        return cls(
            Answers.concatenate([part.labels for part in parts]),
            Answers.concatenate([part.species for part in parts]),
            *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)[2:]),
        )

    def __getitem__(self, rows: Flags | npt.NDArray[np.int64]) -> Judgement:
        return Judgement(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.is_sure)


def evaluate_levels(judgement: Judgement, levels: Levels, threshold: float) -> dict[str, Any]:
    """Return the metrics of the labels (see evaluate_answers), and those of the species in `species`.

    If no photo counts for labels, the metrics of labels are those of species. `species.has_varieties` is true
    if the metrics of the two levels differ. `judgement` must not be empty.
    """
    fruit = levels.is_fruit[judgement.species.predicted]
    species = evaluate_answers(judgement.species, levels.species, threshold, judgement.is_sure, fruit)
    named = judgement[judgement.names_label]
    evaluation = dict(species)
    if len(named):
        fruit = levels.is_fruit[levels.species_of[named.labels.predicted]]
        evaluation = evaluate_answers(named.labels, levels.labels, threshold, named.is_label_sure, fruit)
    evaluation["species"] = {key: value for key, value in species.items() if key not in ("per_class", "confusions")}
    evaluation["species"]["has_varieties"] = len(named) > 0 and len(levels.labels) > len(levels.species)
    evaluation["species"] |= _count_refusals(judgement)
    return evaluation


def evaluate_groups(judgement: Judgement, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return a few metrics for each group of photos, by name; groups: the group of each photo."""
    names, number = np.unique(np.array(groups), return_inverse=True)
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    return [
        {"group": str(name), **_describe_group(judgement[of_group])}
        for name, of_group in zip(names, rows, strict=True)
    ]


def _describe_group(judgement: Judgement) -> dict[str, Any]:
    is_right, is_sure = judgement.species.is_right, judgement.is_sure
    named = judgement[judgement.names_label]
    return {
        "n_photos": len(judgement),
        "species_accuracy": _mean(is_right),
        "n_named": len(named),
        "accuracy": _mean(named.labels.is_right),
        "coverage": _mean(is_sure),
        "accuracy_when_sure": _mean(is_right[is_sure]),
        **_count_refusals(judgement),
    }


def _count_refusals(judgement: Judgement) -> dict[str, Any]:
    """Return the share of fruit photos for which a species is named, and of other photos for which none is."""
    is_fruit, is_sure = judgement.is_fruit, judgement.is_sure
    return {
        "n_not_fruit": int((~is_fruit).sum()),
        "fruit_answered": _mean(is_sure[is_fruit]),
        "others_refused": _mean(~is_sure[~is_fruit]),
    }


def _mean(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None


def source_names(paths: Sequence[str]) -> list[str]:
    """Return each photo's source: the first folder in which the paths differ, "" for photos that are in none.

    photos/shops/Apple/1.jpg and photos/flickr/Apple/2.jpg have the sources shops and flickr.
    """
    folders = [path.split("/")[:-1] for path in paths]
    first, last = min(folders), max(folders)
    n_shared = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return [folder[n_shared] if len(folder) > n_shared else "" for folder in folders]
