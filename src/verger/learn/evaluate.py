"""Evaluate a classifier on a table of labelled features. The table is read batch by batch, without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from verger.errors import SettingsError, SourceError
from verger.kernel.classifier.classifier import Classifier, check_n_features
from verger.kernel.classifier.evaluation import Judgement, evaluate_groups, evaluate_levels, source_names
from verger.kernel.classifier.folds import REGEX_RULE, capture_pattern, group_of
from verger.learn.training_options import FEATURES
from verger.storage.commit import table_folder
from verger.storage.parquet import open_parquet
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts
from verger.storage.uri import AnyPath
from verger.tasks.vector_columns import check_finite, labelled_rows, matrix_of

SOURCE = "source"

_BATCH = 4096


def evaluate(classifier: Classifier, features: AnyPath, *, by: str | None = None) -> dict[str, Any]:
    """Return the evaluation of a classifier on the labelled features of a result (see evaluate_levels).

    Labels of other data sets are mapped to the classifier's labels if the taxonomy of fruit knows them (see Truth).
    by: how to group photos by their paths: "source" (see source_names), or "regex:PATTERN" that captures a name.
        `by_group` then has metrics for each group of photos. Photos without a match are in the group "".
    Raises SourceError if there are no labelled features. Raises ClassifierError if the features have another length
    than in training, or are not finite numbers. Raises SettingsError for another `by`, or for no match.
    """
    pattern = _pattern(by)
    parts, paths = [], []
    for file, batch in _read_labelled(features):
        vectors = matrix_of(batch[FEATURES]).astype(np.float32, copy=False)
        check_n_features(classifier, vectors.shape[1])
        check_finite(vectors, FEATURES, str(file))
        parts.append(Judgement.of(classifier, classifier.probabilities(vectors), batch["label"].to_pylist()))
        if by is not None:
            paths.extend(batch["path"].to_pylist())
    if not parts:
        raise SourceError(
            f"{features} has no labelled features; run `verger features` on photos in one folder per label"
        )
    judgement = Judgement.concatenate(parts)
    evaluation = evaluate_levels(judgement, classifier.levels, classifier.threshold)
    if by is not None:
        groups = source_names(paths) if by == SOURCE else [group_of(path, pattern) or "" for path in paths]
        if not any(groups):
            raise SettingsError("by", by, f"a pattern that matches paths like {paths[0]}")
        evaluation["by_group"] = evaluate_groups(judgement, groups)
    return evaluation


def _pattern(by: str | None) -> str | None:
    if by is None or by == SOURCE:
        return None
    pattern = capture_pattern(by)
    if pattern is None:
        raise SettingsError("by", by, (SOURCE, REGEX_RULE))
    return pattern


def _read_labelled(features: AnyPath) -> Iterator[tuple[AnyPath, pa.RecordBatch]]:
    """Yield batches of the rows that have a label and a vector, each with its file."""
    for part in list_parts(parquet_files(table_folder(features, FEATURES)), FEATURES):
        with open_parquet(part.path) as table:
            for batch in table.iter_batches(_BATCH, columns=["path", "label", FEATURES]):
                if (labelled := labelled_rows(batch, FEATURES)).num_rows:
                    yield part.path, labelled
