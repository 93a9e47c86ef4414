"""Train and evaluate the classifiers that are bundled with verger.

    python -m train.classifier WORK EfficientNetLite2 [--data ../shared/data]
    python -m train.classifier WORK fruitnet

The labels are taxa (verger.kernel.classifier.taxonomy), and NOT_A_FRUIT. The classifier is evaluated on sources
without which it was trained: shops, Flickr authors, whole data sets and kinds of things. The scores of shops and
authors also determine its temperature and thresholds. Then it is trained on all photos. The figures are written to
train/log.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.examples import VIEWS, Table, compute_table, is_for_evaluation
from train.regression import fit_regression
from verger.kernel.classifier.classifier import FILE_NAME, Classifier, softmax
from verger.kernel.classifier.evaluation import Judgement, evaluate_levels
from verger.kernel.classifier.levels import levels_of
from verger.kernel.classifier.temperature import calibrate
from verger.kernel.classifier.transforms import SIGNED_SQRT, transform
from verger.kernel.networks.catalog import FRUITNET, NetworkSpec
from verger.kernel.networks.network import prepare_network
from verger.learn.train import Regression

MODELS = Path(__file__).parent.parent / "src" / "verger" / "models"
LOG = Path(__file__).parent / "log"
FOLDERS = {"EfficientNetLite2": "lite2", FRUITNET: FRUITNET}
# Of all photos, most of which are Flickr's. With 0.95 fewer than 95 % of the shop photos alone are right.
_ACCURACY_WHEN_SURE = 0.955
_ACCURACY_OF_VARIETIES = 0.95
_N_FOLDS = 5
_N_THING_FOLDS = 3

Flags = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """Logits (n, n_labels) of photos on which the regression was not fitted; rows: their numbers in the table."""

    logits: Scores
    rows: npt.NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: Sequence[Scored]) -> Scored:
        """Return the scores of all parts, in order."""
        return cls(np.concatenate([part.logits for part in parts]), np.concatenate([part.rows for part in parts]))


class Trials:
    """Fits on parts of a table, each scored on photos that it left out."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.labels = tuple(map(str, np.unique(table.column("label"))))
        self.source = table.column("source")
        self.is_photo = table.column("kind") == "photo"
        self.is_test = (self.source == "fruits360") & (table.column("split") == "Test")

    def fit(self, rows: Flags) -> Regression:
        """Fit on these rows, but never on Fruits-360's test split."""
        return fit_regression(self.table, rows & ~self.is_test)

    def without(self, left_out: Flags, scored: Flags | None = None) -> Scored:
        """Fit without some rows, and score the photos among them, or among `scored`."""
        regression = self.fit(~left_out)
        rows = np.flatnonzero((left_out if scored is None else scored) & self.is_photo)
        return Scored(regression.logits(transform(SIGNED_SQRT, self.table.vectors[rows])), rows)

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Return the true labels of rows."""
        return [self.table.examples[row].label for row in rows]

    def folds(self) -> npt.NDArray[np.int64]:
        """Return each example's fold.

        0: other shops, and the authors whose photos fruitnet was not trained on. 1 to 4: the other authors. -1: in
        no fold, always trained.
        """
        others = sorted({e.author for e in self.table.examples if e.author and not is_for_evaluation(e)})
        number = {author: 1 + i % (_N_FOLDS - 1) for i, author in enumerate(others)}
        return np.array([0 if is_for_evaluation(e) else number.get(e.author, -1) for e in self.table.examples])


def train(table: Table, model: str) -> tuple[Classifier, dict[str, Any]]:
    """Return the classifier trained on all photos, and its figures on held-out sources."""
    trials = Trials(table)
    folds = trials.folds()
    # fruitnet was trained on the authors of the folds 1 to 4, so that its vectors of their photos are too good.
    numbers = (0,) if model == FRUITNET else range(_N_FOLDS)
    by_fold = [trials.without(folds == number) for number in numbers]
    scored = Scored.concatenate(by_fold)
    number_of = {label: i for i, label in enumerate(trials.labels)}
    truth = np.array([number_of[name] for name in trials.names(scored.rows)])
    levels = levels_of(trials.labels)
    fitted = calibrate(scored.logits, truth, _ACCURACY_WHEN_SURE, levels)
    is_shop = trials.source[scored.rows] == "grocery"  # only the shop photos have varieties
    of_shops = calibrate(scored.logits[is_shop], truth[is_shop], _ACCURACY_OF_VARIETIES, levels)
    spec = NetworkSpec(model, views=VIEWS)
    final = trials.fit(np.ones(len(folds), bool))
    classifier = Classifier(
        labels=trials.labels,
        coef=final.coef,
        intercept=final.intercept,
        network=asdict(spec),
        about={
            "n_photos": int((trials.is_photo & ~trials.is_test).sum()),
            "recipe": "train/classifier.py",
            "weights_sha256": prepare_network(spec).weights_sha256,
        },
        transform=SIGNED_SQRT,
        **asdict(replace(fitted, variety_threshold=of_shops.variety_threshold)),
    )
    figures = _figures(trials, classifier, {"authors and shops": scored, "test": trials.without(trials.is_test)})
    if model != FRUITNET:
        figures |= _figures(trials, classifier, dict(_sources_left_out(trials)))
    return classifier, figures


def _sources_left_out(trials: Trials) -> Iterator[tuple[str, Scored]]:
    """Yield the scores of each source by a regression that was trained without this source."""
    source, is_thing = trials.source, trials.source == "things"
    is_scene = np.isin(source, ["flickr", "things"])
    yield "without flickr", trials.without(is_scene, source == "flickr")
    yield "without grocery", trials.without(source == "grocery")
    kinds = sorted(set(trials.table.column("thing")[is_thing]))
    number = {kind: i % _N_THING_FOLDS for i, kind in enumerate(kinds)}
    fold = np.array([number.get(kind, -1) for kind in trials.table.column("thing")])
    yield "without kinds of things", Scored.concatenate([trials.without(fold == i) for i in range(_N_THING_FOLDS)])


def _figures(trials: Trials, classifier: Classifier, trained_without: dict[str, Scored]) -> dict[str, Any]:
    """Return metrics for each set of scores, and for each source in it."""
    figures = {}
    for name, scored in trained_without.items():
        for source in sorted(set(trials.source[scored.rows])):
            rows = trials.source[scored.rows] == source
            probabilities = softmax(scored.logits[rows] / np.float32(classifier.temperature))
            judgement = Judgement.of(classifier, probabilities, trials.names(scored.rows[rows]))
            evaluation = evaluate_levels(judgement, classifier.levels, classifier.threshold)
            figures[f"{source}, {name}"] = _briefly(evaluation) | {"species": _briefly(evaluation["species"])}
    return figures


def _briefly(evaluation: dict[str, Any]) -> dict[str, Any]:
    keys = ("n_photos", "accuracy", "accuracy_95", "top3", "ece", "ece_by_chance", "coverage", "accuracy_when_sure")
    kept = {key: evaluation[key] for key in (*keys, "others_refused") if evaluation.get(key) is not None}
    return {key: np.round(value, 4).tolist() for key, value in kept.items()}


def main() -> None:
    """Parse the command line, train, and put the classifier into the package."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m train.classifier", description=summary, epilog=rest)
    parser.add_argument("work", type=Path, help="folder for the vectors, 150 MB for each network")
    parser.add_argument("model", choices=FOLDERS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the archives")
    chosen = parser.parse_args()
    table = compute_table(chosen.data, chosen.model, chosen.work / f"vectors-{chosen.model}.npy")
    classifier, figures = train(table, chosen.model)
    classifier.save(MODELS / FOLDERS[chosen.model] / FILE_NAME)
    text = json.dumps(figures, indent=1)
    (LOG / f"classifier-{FOLDERS[chosen.model]}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
