"""The project task: convert features to a part of `components`."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from verger.kernel.pca import Projection
from verger.storage import schemas
from verger.storage.uri import any_path
from verger.tasks.base import Attempt
from verger.tasks.part_files import open_part
from verger.tasks.reduction_sizes import PROJECTED_ROWS
from verger.tasks.spans import Spans, read_spans
from verger.tasks.vector_columns import components_column


@dataclass(frozen=True)
class ProjectJob:
    """Shared state: a fitted PCA, the column to project, and the folder of the components."""

    projection: Projection
    column: str
    folder: str


@dataclass(frozen=True)
class ProjectItem:
    """An item: the number of a part of the components, and the features to project."""

    number: int
    spans: Spans


def project_partition(job: ProjectJob, item: ProjectItem, attempt: Attempt) -> int:
    """Write a part of the components; return its number of rows."""
    target = any_path(job.folder) / f"part-{item.number:06d}.parquet"
    with open_part(target, schemas.COMPONENTS) as part:
        for batch in read_spans(item.spans, ["path", "label", job.column], PROJECTED_ROWS):
            columns = [batch["path"], batch["label"], components_column(batch[job.column], job.projection)]
            part.write(pa.RecordBatch.from_arrays(columns, schema=schemas.COMPONENTS))
    return part.n_rows
