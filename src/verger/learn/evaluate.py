"""Evaluate a classifier on a table of labelled features. The table is read batch by batch, without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import SourceError
from verger.kernel.classifier.classifier import Classifier, check_n_features
from verger.kernel.classifier.metrics import Answers, evaluate_answers
from verger.kernel.classifier.taxonomy import taxon_of
from verger.learn.training_options import FEATURES
from verger.storage.commit import table_folder
from verger.storage.parquet import open_parquet
from verger.storage.table_parts import list_parts
from verger.storage.uri import AnyPath, parquet_files
from verger.tasks.vector_columns import check_finite, matrix_of

_BATCH = 4096


def evaluate(classifier: Classifier, features: AnyPath) -> dict[str, Any]:
    """Return the evaluation of a classifier on the labelled features of a result (see metrics.evaluate_answers).

    Labels of other data sets are mapped to taxa if the classifier was trained on taxa (`about["taxonomy"]`). Raises
    SourceError if there are no labelled features. Raises ClassifierError if the features have another length than
    in training, or are not finite numbers.
    """
    class_number = {label: i for i, label in enumerate(classifier.labels)}
    parts = []
    for file, batch in _read_labelled(features):
        vectors = matrix_of(batch[FEATURES]).astype(np.float32, copy=False)
        check_n_features(classifier, vectors.shape[1])
        check_finite(vectors, FEATURES, str(file))
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


def _read_labelled(features: AnyPath) -> Iterator[tuple[AnyPath, pa.RecordBatch]]:
    """Yield batches of the rows that have a label and a vector, each with its file."""
    for part in list_parts(parquet_files(table_folder(features, FEATURES)), FEATURES):
        with open_parquet(part.path) as table:
            for batch in table.iter_batches(_BATCH, columns=["label", FEATURES]):
                labelled = batch.filter(pc.and_(pc.is_valid(batch["label"]), pc.is_valid(batch[FEATURES])))
                if labelled.num_rows:
                    yield part.path, labelled
