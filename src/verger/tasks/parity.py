"""The parity task: features of a few photos, computed again by OpenVINO in float32, against those written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from verger.content import read_photo
from verger.errors import DecodeError, StorageError
from verger.featurize.device import CPU
from verger.featurize.network import Network
from verger.featurize.runtime import DecodeMode, extractor_for, featurize_photo
from verger.tasks.base import Attempt
from verger.tasks.spans import Spans, read_spans


@dataclass(frozen=True)
class ParityJob:
    """The network whose features are checked, the limit on a photo's pixels, and how photos are decoded."""

    network: Network
    max_pixels: int
    decode: DecodeMode = "exact"


def parity_of_rows(job: ParityJob, spans: Spans, attempt: Attempt) -> list[float]:
    """Return the cosine of each photo's features to those computed again; photos that are gone are left out."""
    is_exact = job.network.precision == "f32" and job.network.device == CPU
    exact = job.network if is_exact else replace(job.network, precision="f32", device=CPU, batch_size=1)
    extractor = extractor_for(job.network.key if is_exact else f"{job.network.key}-exact", lambda: exact)
    cosines = []
    for batch in read_spans(spans, ["path", "features"], 64):
        for row in batch.to_pylist():
            try:
                photo = read_photo(row["path"], job.max_pixels)
                again = featurize_photo(photo, extractor, max_pixels=job.max_pixels, decode=job.decode).features
            except (DecodeError, StorageError):
                continue
            ours = np.asarray(row["features"])
            cosines.append(float(ours @ again / (np.linalg.norm(ours) * np.linalg.norm(again))))
    return cosines
