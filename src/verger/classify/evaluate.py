"""Evaluate a classifier on a labelled features table. Streams Parquet; no Spark, so no JVM to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from verger.classify.metrics import Answers, evaluate_answers
from verger.classify.model import Classifier, check_width
from verger.classify.taxonomy import taxon_of
from verger.errors import SourceError
from verger.publish import table_folder

FEATURES = "features"
_BATCH = 4096


def evaluate(classifier: Classifier, features: Path) -> dict[str, Any]:
    """Return the evaluation of a classifier on a result's labelled features (see metrics.evaluate_answers).

    Labels of another data set are understood where the classifier names taxa (`about["taxonomy"]`).
    Raises SourceError where there are no features, ClassifierError where they are another network's.
    """
    number = {label: i for i, label in enumerate(classifier.labels)}
    parts = []
    for batch in _labelled(features):
        vectors = batch[FEATURES].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
        check_width(classifier, vectors.shape[1])
        names = [class_name(classifier, label) for label in batch["label"].to_pylist()]
        truth = np.array([number.get(name, -1) for name in names], np.int64)
        parts.append(Answers.of(classifier.probabilities(vectors), truth))
    if not parts:
        raise SourceError(f"{features} holds no labelled features to evaluate on")
    return evaluate_answers(Answers.joined(parts), classifier.labels, classifier.threshold)


def class_name(classifier: Classifier, label: str) -> str:
    """Return the class that a data set's label means: the label itself, or its taxon's name."""
    if label in classifier.labels or not classifier.about.get("taxonomy"):
        return label
    taxon = taxon_of(label)
    return taxon.name if taxon else label


def _labelled(features: Path) -> Iterator[pa.RecordBatch]:
    files = sorted(str(file) for file in table_folder(features, FEATURES).glob("*.parquet"))
    table = ds.dataset(files, format="parquet")
    is_labelled = ds.field("label").is_valid()
    for batch in table.to_batches(columns=["label", FEATURES], filter=is_labelled, batch_size=_BATCH):
        if batch.num_rows:
            yield batch
