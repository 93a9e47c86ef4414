"""The parity check on the driver: compute a few features again, and compare them. Worker side: `tasks.parity`."""

from __future__ import annotations

from verger.kernel.networks.network import Network
from verger.pipeline.context import FEATURES, LISTING, RunContext
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts
from verger.tasks.parity import ParityJob, parity_of_rows
from verger.tasks.spans import Spans, split_into_spans

_N_PHOTOS = 16


def check_parity(context: RunContext, network: Network) -> None:
    """Compute the features of a few photos again with OpenVINO in float32; record the cosines to those written."""
    context.progress.stage("check")
    with context.manifest.timed("check"):
        listing = tuple(map(str, parquet_files(context.stage / LISTING)[:_N_PHOTOS]))
        settings = context.settings
        job = ParityJob(network, settings.max_pixels, settings.photo_timeout_s, settings.decode, listing)
        (cosines,) = context.engine.map(parity_of_rows, [_first_rows(context)], job)
    if cosines:
        context.manifest.parity = {
            "n_checked": len(cosines),
            "min_cosine": round(min(cosines), 7),
            "mean_cosine": round(sum(cosines) / len(cosines), 7),
            "precision": network.precision,
            "device": network.device,
        }


def _first_rows(context: RunContext) -> Spans:
    parts = list_parts(parquet_files(context.stage / FEATURES), FEATURES)[:_N_PHOTOS]
    groups = split_into_spans([(part.file, part.n_rows) for part in parts], _N_PHOTOS)
    return groups[0] if groups else ()
