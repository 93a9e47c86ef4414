"""Tasks that fit a PCA: some compute partial sums over spans of vectors, others merge these sums in a tree.

A partial sum for vectors of 1,280 features has 13 MB, so it is written to a file, and not sent through the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from verger.kernel.moments import Array, Moments, merge_all
from verger.kernel.sketch import add_products, product_part
from verger.storage.uri import any_path
from verger.tasks.base import Attempt
from verger.tasks.part_files import part_file
from verger.tasks.spans import Spans, read_spans
from verger.tasks.vector_columns import Matrix, matrix_of


@dataclass(frozen=True)
class PartialSum:
    """An item: ranges of rows to sum, and the file for this sum."""

    spans: Spans
    target: str


@dataclass(frozen=True)
class Merge:
    """An item: files with partial sums, in order, and the file for the sum of these."""

    files: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class MomentsJob:
    """Shared state: the column of vectors, and the number of rows that are summed at a time."""

    column: str
    block_rows: int


@dataclass(frozen=True)
class ProductJob:
    """Shared state of a pass of the randomized PCA (`kernel.sketch`). Shapes: mean, scale (d,); basis (d, l)."""

    column: str
    block_rows: int
    mean: Array
    scale: Array
    basis: Array


def moments_partition(job: MomentsJob, item: PartialSum, attempt: Attempt) -> bool:
    """Write the moments of the vectors in spans; return False if there are no vectors."""
    parts = [Moments.from_vectors(block) for block in _blocks(item.spans, job.column, job.block_rows)]
    if not parts:
        return False
    write_sum(item.target, merge_all(parts).to_bytes())
    return True


def merge_moments(shared: None, item: Merge, attempt: Attempt) -> bool:
    """Write the merged moments of several files."""
    parts = [Moments.from_bytes(any_path(file).read_bytes()) for file in item.files]
    write_sum(item.target, merge_all(parts).to_bytes())
    return True


def product_partition(job: ProductJob, item: PartialSum, attempt: Attempt) -> bool:
    """Write the contribution of the vectors in the spans to `sketch.Product`, (d, l) float64."""
    total = np.zeros(job.basis.shape)
    for block in _blocks(item.spans, job.column, job.block_rows):
        total += product_part(block, job.mean, job.scale, job.basis)
    write_sum(item.target, total.tobytes())
    return True


def merge_products(shared: None, item: Merge, attempt: Attempt) -> bool:
    """Write the sum of several files of product parts."""
    write_sum(item.target, add_products([any_path(file).read_bytes() for file in item.files]))
    return True


def _blocks(spans: Spans, column: str, block_rows: int) -> Iterator[Matrix]:
    for batch in read_spans(spans, [column], block_rows):
        if len(vectors := batch.column(0).drop_null()):
            yield matrix_of(vectors)


def write_sum(target: str, data: bytes) -> None:
    """Write the file of a sum; it appears under its name when it is complete."""
    with part_file(any_path(target)) as file:
        file.write(data)
