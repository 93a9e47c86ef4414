"""Tasks that train lda: count the labels, and compute class moments per fold of the cross-validation.

The moments of 1,280 features have 13 MB per fold, so they are written to files, and not sent through the driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa

from verger.kernel.classifier.classifier import Floats
from verger.kernel.classifier.folds import group_of
from verger.kernel.classifier.lda import ClassMoments, Ints
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.classifier.transforms import transform
from verger.storage.uri import any_path
from verger.tasks.base import Attempt
from verger.tasks.moments import Merge, PartialSum, write_sum
from verger.tasks.spans import Spans, read_spans
from verger.tasks.vector_columns import check_finite, labelled_rows, matrix_of

_LABELS_PER_BATCH = 65_536


@dataclass(frozen=True)
class LabelCounts:
    """Photos per label, and the set of (label, group) pairs."""

    counts: dict[str, int]
    groups: set[tuple[str, str]]


@dataclass(frozen=True)
class ClassMomentsJob:
    """Shared state: the column of vectors, the transform of vectors, the rows per block, the training's plan."""

    column: str
    transform: str
    block_rows: int
    plan: TrainingPlan


@dataclass(frozen=True)
class ClassSums:
    """Result of `sum_classes`: the folds that have files, and the photos of the plan's sample.

    files: fold -> file with the ClassMoments of its photos.
    vectors, classes, folds: of the sample, (m, d) float32 after the transform, (m,) and (m,).
    """

    files: dict[int, str]
    vectors: Floats
    classes: Ints
    folds: Ints


def count_labels(pattern: str | None, spans: Spans, attempt: Attempt) -> LabelCounts:
    """Count the labels in spans, and find the groups of the photos by a pattern (see `folds.group_pattern`)."""
    counts: Counter[str] = Counter()
    groups: set[tuple[str, str]] = set()
    for batch in read_spans(spans, ["path", "label"], _LABELS_PER_BATCH):
        labels = batch["label"].to_pylist()
        counts.update(labels)
        if pattern is not None:
            found = (group_of(path, pattern) for path in batch["path"].to_pylist())
            pairs = set(zip(labels, found, strict=True))
            groups |= {(label, group) for label, group in pairs if label is not None and group is not None}
    return LabelCounts({label: n for label, n in counts.items() if label is not None}, groups)


def sum_classes(job: ClassMomentsJob, item: PartialSum, attempt: Attempt) -> ClassSums:
    """Write the class moments of each fold in spans, each to a file; return the photos of the sample."""
    plan, classes_of = job.plan, job.plan.classes
    sums: dict[int, ClassMoments] = {}
    samples: list[tuple[Floats, Ints, Ints]] = []
    for batch in _labelled(item.spans, job):
        matrix = matrix_of(batch[job.column])
        check_finite(matrix, job.column, item.spans[0].file)
        vectors = transform(job.transform, matrix)
        photos = list(zip(batch["path"].to_pylist(), batch["label"].to_pylist(), strict=True))
        classes = np.array([classes_of[label] for _, label in photos], np.int64)
        folds = np.array([plan.fold_of(path, label) for path, label in photos], np.int64)
        for fold in np.unique(folds).tolist():
            is_own = folds == fold
            part = ClassMoments.from_vectors(vectors[is_own], classes[is_own], len(classes_of))
            sums[fold] = sums[fold].merge(part) if fold in sums else part
        is_sampled = np.array([plan.is_sampled(path) for path, _ in photos], bool)
        samples.append((vectors[is_sampled], classes[is_sampled], folds[is_sampled]))
        attempt.report(batch.num_rows, 0)
    files = {fold: f"{item.target}-fold-{fold}" for fold in sums}
    for fold, moments in sums.items():
        write_sum(files[fold], moments.to_bytes())
    if not samples:
        return ClassSums({}, np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return ClassSums(files, *(np.concatenate(column) for column in zip(*samples, strict=True)))


def merge_classes(shared: None, item: Merge, attempt: Attempt) -> bool:
    """Write the merged class moments of several files; two of them are in memory at a time."""
    write_sum(item.target, merge_files(item.files).to_bytes())
    return True


def merge_files(files: tuple[str, ...]) -> ClassMoments:
    """Return the merged class moments of files, in order; two of them are in memory at a time."""
    return reduce(ClassMoments.merge, (ClassMoments.from_bytes(any_path(file).read_bytes()) for file in files))


def _labelled(spans: Spans, job: ClassMomentsJob) -> Iterator[pa.RecordBatch]:
    """Yield batches of the rows that have a label and a vector."""
    for batch in read_spans(spans, ["path", "label", job.column], job.block_rows):
        if (rows := labelled_rows(batch, job.column)).num_rows:
            yield rows
