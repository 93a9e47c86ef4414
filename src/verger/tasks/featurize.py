"""The featurize task: convert the photos of a partition to a part of `features` and a part of `rejected`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from verger.errors import DecodeError
from verger.kernel.networks.inference import DecodeMode, Extractor, PhotoFeatures, cached_extractor
from verger.kernel.networks.network import Network
from verger.sources.partitions import Partition
from verger.storage import schemas
from verger.storage.arrow import longs, strings
from verger.storage.uri import any_path, read_parquet
from verger.tasks.base import Attempt
from verger.tasks.earlier_features import EarlierFeatures
from verger.tasks.featurize_batches import Outcome, WorkerOptions, WorkerTimes, compute_outcomes, outcome_columns
from verger.tasks.part_files import PartWriter, open_part
from verger.tasks.shard_rows import add_shard_content
from verger.tasks.time_limit import photo_time_limit

_ROWS_PER_BATCH = 1024


@dataclass(frozen=True)
class FeaturizeJob:
    """Shared state of the featurize tasks of a run.

    features, rejected: folders of the tables.
    run: id of the run, which is a part of the names of the files.
    photo_timeout_s: time limit for one photo, reading included.
    decode: "scaled" decodes large JPEGs at a reduced scale.
    earlier: features of earlier runs, to be reused.
    """

    network: Network
    features: str
    rejected: str
    run: str
    max_pixels: int
    photo_timeout_s: float
    decode: DecodeMode = "exact"
    earlier: EarlierFeatures | None = None


@dataclass(frozen=True)
class FeaturizeSummary:
    """Summary of a task.

    n_features, n_rejected: number of rows written to each of the two tables.
    n_computed: number of photos whose features were computed, not reused. n_pixels: the pixels of all these photos.
    file: name of the part of `features`; None if the part has no rows.
    """

    n_features: int
    n_rejected: int
    n_computed: int
    n_pixels: int
    times: WorkerTimes
    file: str | None


def featurize_partition(job: FeaturizeJob, partition: Partition, attempt: Attempt) -> FeaturizeSummary:
    """Featurize the photos of a listing's partition."""
    return featurize_rows(job, (partition.number, _read_partition(partition)), attempt)


def featurize_rows(
    job: FeaturizeJob, numbered: tuple[int, Iterable[pa.RecordBatch]], attempt: Attempt
) -> FeaturizeSummary:
    """Featurize batches of photos with a content or path column; `numbered` is (partition number, batches)."""
    number, batches = numbered
    extractor = cached_extractor(job.network.key, lambda: job.network, attempt.gpu)
    name = f"part-{number:06d}-{job.run}.parquet"
    options = WorkerOptions(
        job.max_pixels,
        n_threads=attempt.n_threads,
        decodes_in_child=attempt.number > 0,
        photo_timeout_s=job.photo_timeout_s,
        decode=job.decode,
    )
    with (
        open_part(any_path(job.features) / name, schemas.FEATURES) as features,
        open_part(any_path(job.rejected) / name, schemas.REJECTED) as rejected,
        photo_time_limit(job.photo_timeout_s, attempt) as restart,
    ):
        n_computed = n_pixels = 0
        times = WorkerTimes()
        for rows, outcomes in compute_outcomes(batches, extractor, options, job.earlier, restart, times):
            _write(rows, outcomes, extractor, features, rejected)
            restart()  # because `compute_outcomes` does not call it for photos with reused features
            computed = [outcome for outcome in outcomes if type(outcome) is PhotoFeatures]
            n_computed += len(computed)
            n_pixels += sum(photo.width * photo.height for photo in computed)
            attempt.report(len(outcomes), sum(isinstance(outcome, DecodeError) for outcome in outcomes))
    return FeaturizeSummary(features.n_rows, rejected.n_rows, n_computed, n_pixels, times, features.name)


def _read_partition(partition: Partition) -> Iterator[pa.RecordBatch]:
    rows = read_parquet(any_path(partition.file))
    if schemas.SHARD in rows.schema.names:
        return add_shard_content(rows)
    return iter(rows.to_batches(_ROWS_PER_BATCH))


def _write(
    rows: pa.RecordBatch, outcomes: list[Outcome], extractor: Extractor, features: PartWriter, rejected: PartWriter
) -> None:
    is_good = np.array([isinstance(outcome, PhotoFeatures) for outcome in outcomes])
    good = [outcome for outcome in outcomes if isinstance(outcome, PhotoFeatures)]
    bad = [outcome for outcome in outcomes if isinstance(outcome, DecodeError)]
    if good:
        kept = _columns_where(rows, ("path", "label"), is_good)
        added = outcome_columns(good, extractor.n_features)
        features.write(_batch(kept | added, schemas.FEATURES))
    if bad:
        kept = _columns_where(rows, ("path", "length"), ~is_good)
        added = {"reason": strings([error.reason for error in bad]), "detail": strings([e.detail for e in bad])}
        rejected.write(_batch(kept | added, schemas.REJECTED))


def _columns_where(rows: pa.RecordBatch, names: tuple[str, ...], mask: Any) -> dict[str, pa.Array]:
    """Return the rows where `mask` is true, as columns. Without `pyarrow.array`, because it would import pandas."""
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = list(itertools.compress(rows[name].to_pylist(), mask))
        columns[name] = longs(values) if name == "length" else strings(values)
    return columns


def _batch(columns: dict[str, pa.Array], kind: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in kind.names], schema=kind)
