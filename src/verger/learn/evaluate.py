"""Evaluate a classifier on a table of labelled features. The table is read batch by batch, without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from verger.errors import SourceError
from verger.kernel.classifier.classifier import Classifier, check_n_features
from verger.kernel.classifier.metrics import Answers, evaluate_answers
from verger.kernel.classifier.taxonomy import taxon_of
from verger.learn.training_options import FEATURES
from verger.storage.commit import table_folder
from verger.storage.uri import AnyPath, parquet_files

_BATCH = 4096


def evaluate(classifier: Classifier, features: AnyPath) -> dict[str, Any]:
    """Return the evaluation of a classifier on the labelled features of a result (see metrics.evaluate_answers).

    Labels of other data sets are mapped to taxa if the classifier was trained on taxa (`about["taxonomy"]`). Raises
    SourceError if there are no labelled features, ClassifierError if they have another length than in training.
    """
    class_number = {label: i for i, label in enumerate(classifier.labels)}
    parts = []
    for batch in _read_labelled(features):
        vectors = batch[FEATURES].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
        check_n_features(classifier, vectors.shape[1])
        names = [_class_name(classifier, label) for label in batch["label"].to_pylist()]
        truth = np.array([class_number.get(name, -1) for name in names], np.int64)
        parts.append(Answers.from_probabilities(classifier.probabilities(vectors), truth))
    if not parts:
        raise SourceError(
            f"{features} has no labelled features; run `verger features` on photos in one folder per label"
        )
    return evaluate_answers(Answers.concatenate(parts), classifier.labels, classifier.threshold)


def _class_name(classifier: Classifier, label: str) -> str:
    """Return the class name of a label: the label itself, or the name of its taxon."""
    if label in classifier.labels or not classifier.about.get("taxonomy"):
        return label
    taxon = taxon_of(label)
    return taxon.name if taxon else label


def _read_labelled(features: AnyPath) -> Iterator[pa.RecordBatch]:
    for file in parquet_files(table_folder(features, FEATURES)):
        with file.open("rb") as opened, pq.ParquetFile(opened) as table:
            for batch in table.iter_batches(_BATCH, columns=["label", FEATURES]):
                labelled = batch.filter(pc.is_valid(batch["label"]))
                if labelled.num_rows:
                    yield labelled
