"""The pack stage on the driver: loose photos -> shards. The worker side is `verger.tasks.pack`."""

from __future__ import annotations

from collections import Counter

from verger.pipeline.context import RunContext
from verger.sources.packed import IMAGES, row_group_bytes
from verger.sources.partitions import Listing
from verger.tasks.pack import PackJob, pack_partition


def pack_photos(context: RunContext, listing: Listing) -> None:
    """Write the bytes of photos to shards; metadata is removed, unless the setting keep_metadata is true."""
    counts, settings = context.manifest.counts, context.settings
    counts |= {"bytes": listing.n_bytes, "max_bytes": listing.max_bytes, "shards": listing.n_partitions}
    job = PackJob(
        str(context.stage / IMAGES),
        row_group_bytes(listing.n_photos, listing.n_bytes),
        settings.max_pixels,
        settings.keep_metadata,
        settings.max_side,
        settings.photo_timeout_s,
    )
    context.progress.stage("pack", listing.n_photos)
    with context.manifest.timed("pack"):
        summaries = context.engine.map(pack_partition, listing.partitions(), job, context.progress.advance)
    if not settings.keep_metadata:
        counts["metadata"] = dict(sum(map(Counter, summaries), Counter[str]()).most_common())
    context.progress.advance(listing.n_photos, 0)
