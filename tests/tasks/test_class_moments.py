from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.labelled_vectors import KINDS, labelled, make_result
from verger.kernel.classifier.folds import FRAME_PATTERN, assign_groups
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.classifier.transforms import transform
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts
from verger.tasks.base import Attempt
from verger.tasks.class_moments import ClassMomentsJob, count_labels, merge_classes, merge_files, sum_classes
from verger.tasks.moments import Merge, PartialSum
from verger.tasks.spans import Spans, split_into_spans

COUNTS = {"Apple": 40, "Pear": 60, "Plum": 80}
GROUPS = {(kind, axis) for kind in KINDS for axis in ("", "r_", "r2_", "r3_")}


def spans_of(folder: Path, rows_each: int) -> list[Spans]:
    parts = list_parts(parquet_files(folder / "features"), "features")
    return split_into_spans([(part.file, part.n_rows) for part in parts], rows_each)


def plan() -> TrainingPlan:
    return TrainingPlan(COUNTS, FRAME_PATTERN, assign_groups(GROUPS, 3), 3)


def test_labels_and_groups_are_counted_without_the_unlabelled(tmp_path: Path) -> None:
    (spans,) = spans_of(make_result(tmp_path), 1000)
    found = count_labels(FRAME_PATTERN, spans, Attempt())
    # One more than COUNTS: the photo of a pear without a vector, because vectors are not read.
    assert found.counts == COUNTS | {"Pear": 61} and found.groups == GROUPS
    assert count_labels(None, spans, Attempt()).groups == set()


@pytest.mark.parametrize("block_rows", [16, 1000])
def test_sums_of_all_folds_are_the_moments_of_all_photos(tmp_path: Path, block_rows: int) -> None:
    make_result(tmp_path)
    job = ClassMomentsJob("features", "signed-sqrt", block_rows, plan())
    files: list[str] = []
    for number, spans in enumerate(spans_of(tmp_path, 50)):
        files += sum_classes(job, PartialSum(spans, str(tmp_path / f"sum-{number}")), Attempt()).files.values()
    merge_classes(None, Merge(tuple(files), str(tmp_path / "merged")), Attempt())
    found = merge_files((str(tmp_path / "merged"),))
    vectors, labels = labelled(tmp_path)
    x = transform("signed-sqrt", vectors).astype(np.float64)
    classes = np.array([KINDS.index(label) for label in labels])
    means = np.array([x[classes == number].mean(axis=0) for number in range(3)])
    assert list(found.n) == list(COUNTS.values()) and np.allclose(found.mean, means)
    assert np.allclose(found.scatter, (x - means[classes]).T @ (x - means[classes]))


def test_a_file_holds_the_photos_of_one_fold(tmp_path: Path) -> None:
    (spans,) = spans_of(make_result(tmp_path), 1000)
    job = ClassMomentsJob("features", "none", 64, plan())
    found = sum_classes(job, PartialSum(spans, str(tmp_path / "sum")), Attempt())
    assert set(found.files) == {0, 1, 2}
    for fold, file in found.files.items():
        assert list(merge_files((file,)).n) == [
            int((found.classes[found.folds == fold] == k).sum()) for k in range(3)
        ]


def test_only_the_sample_is_returned_but_all_photos_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.kernel.classifier.training_plan.MAX_CROSS_VALIDATED", 60)
    (spans,) = spans_of(make_result(tmp_path), 1000)
    job = ClassMomentsJob("features", "none", 64, plan())
    found = sum_classes(job, PartialSum(spans, str(tmp_path / "sum")), Attempt())
    assert 35 < len(found.vectors) < 85 and len(found.classes) == len(found.folds) == len(found.vectors)
    assert sum(merge_files((file,)).n.sum() for file in found.files.values()) == 180


def test_a_span_without_labelled_photos_gives_no_files(tmp_path: Path) -> None:
    spans = spans_of(make_result(tmp_path), 1)[3]
    job = ClassMomentsJob("features", "none", 64, plan())
    found = sum_classes(job, PartialSum(spans, str(tmp_path / "sum")), Attempt())
    assert not found.files and not len(found.classes)
