"""Read training data and fit lda: tasks sum the vectors once, on any engine; the driver fits from the sums.

The driver holds the class moments of each fold, and the vectors of at most about MAX_CROSS_VALIDATED photos.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from verger.engine.base import Engine
from verger.errors import ClassifierError
from verger.kernel.classifier.classifier import Floats
from verger.kernel.classifier.folds import group_pattern
from verger.kernel.classifier.lda import ClassMoments, Ints, fit_lda
from verger.kernel.classifier.training_plan import TrainingPlan
from verger.kernel.moments import MAX_EXACT_FEATURES
from verger.learn.train import HeldOutScores, Regression
from verger.learn.training_options import TrainOptions
from verger.pipeline.merge_tree import merge_in_trees
from verger.process.progress import Progress
from verger.storage.table_parts import TablePart, vector_width
from verger.storage.uri import AnyPath
from verger.tasks.class_moments import (
    ClassMomentsJob,
    ClassSums,
    LabelCounts,
    count_labels,
    merge_classes,
    merge_files,
    sum_classes,
)
from verger.tasks.moments import PartialSum
from verger.tasks.reduction_sizes import rows_per_block, rows_per_class_sum
from verger.tasks.spans import split_into_spans

_ROWS_PER_COUNT = 1 << 18


class SummedExamples:
    """The labelled rows of the parts of a table, which tasks read.

    scratch: folder for the sums, on storage that all workers can write to; the caller removes it.
    """

    def __init__(
        self,
        engine: Engine,
        parts: Sequence[TablePart],
        scratch: AnyPath,
        options: TrainOptions,
        progress: Progress,
    ) -> None:
        self.column = options.column
        self._engine = engine
        self._files = [(part.file, part.n_rows) for part in parts]
        self._n_rows = sum(part.n_rows for part in parts)
        self._width = vector_width(parts[0], options.column) if parts else 0
        self._scratch = scratch
        self._pattern = group_pattern(options.group)
        self._progress = progress
        if self._width > MAX_EXACT_FEATURES:
            raise ClassifierError(
                f"lda takes vectors of up to {MAX_EXACT_FEATURES:,} numbers, but {options.column} have "
                f"{self._width:,}: use --on components, or --classifier logistic"
            )

    def count_labels(self) -> dict[str, int]:
        """Return the number of photos of each label. Rows without a vector count too."""
        return self._labels.counts

    def find_groups(self, pattern: str) -> set[tuple[str, str]]:
        """Return the set of (label, group) pairs of the photos, except photos whose path has no group."""
        assert pattern == self._pattern
        return self._labels.groups

    @cached_property
    def _labels(self) -> LabelCounts:
        """The labels and groups, from a pass over the columns `path` and `label` only."""
        found = self._engine.map(count_labels, split_into_spans(self._files, _ROWS_PER_COUNT), self._pattern)
        counts: Counter[str] = Counter()
        for part in found:
            counts.update(part.counts)
        return LabelCounts(dict(counts), set().union(*(part.groups for part in found)))

    @contextmanager
    def prepare(self, plan: TrainingPlan, options: TrainOptions) -> Iterator[LdaFitter]:
        """Compute the class moments of each fold, in one pass over the vectors."""
        self._progress.stage("prepare", self._n_rows)
        spans = split_into_spans(self._files, rows_per_class_sum(self._n_rows, self._width))
        items = [PartialSum(group, str(self._scratch / f"sum-{number:06d}")) for number, group in enumerate(spans)]
        job = ClassMomentsJob(options.column, options.transform_name, rows_per_block(self._width), plan)
        sums = self._engine.map(sum_classes, items, job, self._progress.advance)
        yield LdaFitter(self._merge(sums), _sample_of(sums), options.priors)

    def _merge(self, sums: list[ClassSums]) -> dict[int, ClassMoments]:
        """Return the class moments of each fold."""
        files: dict[int, list[str]] = defaultdict(list)
        for part in sums:
            for fold, file in part.files.items():
                files[fold].append(file)
        folds = sorted(files)
        merged = merge_in_trees(
            self._engine, merge_classes, [files[fold] for fold in folds], str(self._scratch / "merged")
        )
        return {fold: merge_files(tuple(of_fold)) for fold, of_fold in zip(folds, merged, strict=True)}


@dataclass(frozen=True)
class Sample:
    """The photos of the plan's sample: vectors (m, d), class numbers (m,) and fold numbers (m,)."""

    vectors: Floats
    classes: Ints
    folds: Ints


def _sample_of(sums: list[ClassSums]) -> Sample:
    parts = [(part.vectors, part.classes, part.folds) for part in sums if len(part.classes)]
    if not parts:
        raise ClassifierError("cannot cross-validate: no row of the table has both a label and a vector")
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class LdaFitter:
    """Linear discriminant analysis from the class moments of each fold."""

    moments: dict[int, ClassMoments]
    sample: Sample
    priors: str

    def folds(self) -> set[int]:
        """Return the numbers of the folds that have photos."""
        return set(self.moments)

    def fit(self, strength: float) -> Regression:
        """Return a regression for the vectors of the table, after the transform, fitted on all photos."""
        return self._fit(reduce(ClassMoments.merge, self.moments.values()), strength)

    def score_held_out(self, trials: Sequence[tuple[float, int]]) -> Iterator[HeldOutScores]:
        """For each (strength, fold), fit all other folds and yield the scores of the sample's photos in this fold.

        Trials with the same fold should follow each other, because the other folds are merged once for all of them.
        """
        merged, held_out = None, None
        for strength, fold in trials:
            if merged is None or fold != held_out:
                merged, held_out = self._merge_others(fold), fold
            is_own = self.sample.folds == fold
            regression = self._fit(merged, strength)
            yield HeldOutScores(regression.logits(self.sample.vectors[is_own]), self.sample.classes[is_own])

    def _merge_others(self, fold: int) -> ClassMoments:
        others = [moments for number, moments in self.moments.items() if number != fold]
        if not others:
            raise ClassifierError(
                "cannot cross-validate: all photos are in one fold. Use more photos, or other values of --folds "
                "and --group"
            )
        return reduce(ClassMoments.merge, others)

    def _fit(self, moments: ClassMoments, shrinkage: float) -> Regression:
        """Return the discriminants less their mean over the classes.

        The mean does not change probabilities. Without it the numbers are smaller, and float32 more precise.
        """
        coef, intercept = fit_lda(moments, shrinkage, self.priors)
        seen = np.isfinite(intercept)
        coef[seen] -= coef[seen].mean(axis=0)
        intercept[seen] -= intercept[seen].mean()
        return Regression(coef.astype(np.float32), intercept.astype(np.float32))
