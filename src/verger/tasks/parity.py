"""The parity task: compute features again with OpenVINO in float32, and compare them with the written features."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from verger.errors import DecodeError, StorageError
from verger.kernel.networks.device import CPU
from verger.kernel.networks.inference import DecodeMode, Vector, cached_extractor, featurize_photo
from verger.kernel.networks.network import Network
from verger.sources.content import Read
from verger.tasks.base import Attempt
from verger.tasks.child_decoder import open_photo_tools
from verger.tasks.shard_rows import read_shard_photos
from verger.tasks.spans import Spans, read_spans
from verger.tasks.time_limit import photo_time_limit


@dataclass(frozen=True)
class ParityJob:
    """Shared state: the network whose features are checked, and how photos are decoded.

    photo_timeout_s: time limit for one photo, reading included.
    listing: files of the run's listing, which contain the location of each packed photo in its shard.
    """

    network: Network
    max_pixels: int
    photo_timeout_s: float
    decode: DecodeMode = "exact"
    listing: tuple[str, ...] = ()


def parity_of_rows(job: ParityJob, spans: Spans, attempt: Attempt) -> list[float]:
    """Return the cosine between the written and the recomputed features of each photo.

    Photos that are missing, have changed or can no longer be read are left out.
    """
    is_exact = job.network.precision == "f32" and job.network.device == CPU
    exact = job.network if is_exact else replace(job.network, precision="f32", device=CPU, batch_size=1)
    extractor = cached_extractor(job.network.key if is_exact else f"{job.network.key}-exact", lambda: exact)
    batches = read_spans(spans, ["path", "sha256", "features"], 64)
    rows = [row for batch in batches for row in batch.to_pylist()]
    packed = read_shard_photos(job.listing, {row["path"] for row in rows})
    cosines = []
    with (
        photo_time_limit(job.photo_timeout_s, attempt) as restart,
        open_photo_tools(
            job.max_pixels, in_child=attempt.number > 0, photo_timeout_s=job.photo_timeout_s
        ) as photo_tools,
    ):
        for row in rows:
            restart()
            try:
                photo = _read(row, packed, photo_tools.read)
                if photo is None:
                    continue
                recomputed = featurize_photo(photo, extractor, max_pixels=job.max_pixels, decode=job.decode)
            except (DecodeError, StorageError):
                continue
            cosines.append(_cosine(np.asarray(row["features"]), recomputed.features))
    return cosines


def _cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _read(row: Mapping[str, Any], packed: Mapping[str, bytes], read: Read) -> bytes | None:
    """Return the photo of a row, from `packed` or else from its file; None if the photo has changed."""
    content = packed.get(row["path"])
    if content is None or not _has_hash_of(row, content):
        content = read(row["path"])
    return content if _has_hash_of(row, content) else None


def _has_hash_of(row: Mapping[str, Any], content: bytes) -> bool:
    return bool(hashlib.sha256(content).hexdigest() == row["sha256"])
