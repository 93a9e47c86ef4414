"""The other steps of the chain: each does a stage in the staging folder, and notes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from verger.engine.base import Engine
from verger.errors import JobError
from verger.kernel.networks.network import Network
from verger.pipeline.context import COMPONENTS, FEATURES, LISTING, Workplace
from verger.pipeline.discover import partitions_of
from verger.pipeline.export import ExportOptions, write_copies
from verger.sources.packed import IMAGES, row_group_bytes
from verger.sources.partitions import Listing
from verger.storage.commit import scratch_of
from verger.storage.manifest import Manifest
from verger.storage.parts_list import list_parts
from verger.storage.uri import AnyPath, parquet_files, remove_tree
from verger.tasks.pack import PackJob, pack_partition
from verger.tasks.parity import ParityJob, parity_of_rows
from verger.tasks.spans import Span
from verger.tasks.thumbnails import PHOTOS_A_TASK, ThumbnailJob, thumbnails_of

_N_PARITY_PHOTOS = 16


def pack(place: Workplace, listing: Listing) -> None:
    """Write the photos with their bytes into shards: without their metadata, unless these are asked for."""
    counts, settings = place.manifest.counts, place.settings
    counts |= {"bytes": listing.n_bytes, "max_bytes": listing.max_bytes, "shards": listing.n_partitions}
    group_bytes = row_group_bytes(listing.n_photos, listing.n_bytes)
    folder = place.stage / IMAGES
    job = PackJob(
        str(folder),
        group_bytes,
        settings.max_pixels,
        settings.keep_metadata,
        settings.max_side,
        settings.photo_timeout_s,
    )
    place.progress.stage("pack", listing.n_photos)
    with place.manifest.timed("pack"):
        done = place.engine.map(pack_partition, partitions_of(listing), job, place.progress.advance)
    if not settings.keep_metadata:
        totals: dict[str, int] = {}
        for words in done:
            totals |= {word: totals.get(word, 0) + n for word, n in words.items()}
        counts["metadata"] = dict(sorted(totals.items(), key=lambda pair: -pair[1]))
    place.progress.advance(listing.n_photos, 0)


def export(place: Workplace, table: AnyPath) -> None:
    """Write the CSV and JSON copies of a staged table that the settings ask for."""
    settings = place.settings
    if not settings.export:
        return
    place.progress.stage("export")
    with place.manifest.timed("export"):
        parts = list_parts(parquet_files(table), table.name)
        options = ExportOptions(settings.export, settings.single_file)
        place.manifest.exports = write_copies(place.engine, parts, table.name, place.stage, options)


def check_parity(place: Workplace, network: Network) -> None:
    """Let a worker featurize a few photos again by OpenVINO in float32, and compare with what was written."""
    place.progress.stage("check")
    parts = list_parts(parquet_files(place.stage / FEATURES), FEATURES)[:_N_PARITY_PHOTOS]
    spans, n_left = list[Span](), _N_PARITY_PHOTOS
    for part in parts:
        spans.append(Span(part.file, 0, min(part.n_rows, n_left)))
        n_left -= spans[-1].n_rows
        if not n_left:
            break
    with place.manifest.timed("check"):
        listing = tuple(map(str, parquet_files(place.stage / LISTING)[:_N_PARITY_PHOTOS]))
        job = ParityJob(network, place.settings.max_pixels, place.settings.decode, listing)
        (cosines,) = place.engine.map(parity_of_rows, [tuple(spans)], job)
    if cosines:
        place.manifest.parity = {
            "n_checked": len(cosines),
            "min_cosine": round(min(cosines), 7),
            "mean_cosine": round(sum(cosines) / len(cosines), 7),
            "precision": network.precision,
            "device": network.device,
        }


def finish(place: Workplace) -> Manifest:
    """Write the report and the manifest, and return it."""
    manifest = place.manifest
    has_report = place.settings.report and manifest.command != "pack"
    has_map = has_report and (place.stage / COMPONENTS).is_dir()
    if not has_map:
        place.engine.release()
    if manifest.command == "pack":
        remove_tree(place.stage / LISTING)
    remove_tree(scratch_of(place.stage))
    manifest.timings_s["total"] = round(time.monotonic() - place.started, 3)
    if "listed" in manifest.counts:
        spent = manifest.timings_s.get("featurize") or manifest.timings_s["pack"]
        manifest.photos_per_s = round(manifest.counts["listed"] / spent, 1)
    manifest.write(place.stage)
    if has_report:
        from verger.report.page import write_report

        place.progress.stage("report")
        write_report(place.stage, partial(_last_thumbnails, place), title=place.out.name)
    return manifest


def _last_thumbnails(place: Workplace, paths: Sequence[str]) -> list[str | None]:
    """Let the engine make thumbnails, its last work: a run does not fail for want of them."""
    try:
        return make_thumbnails(place.engine, paths)
    except JobError as error:
        place.progress.note(f"the report has no thumbnails: {error}")
        return [None] * len(paths)
    finally:
        place.engine.release()


def make_thumbnails(engine: Engine, paths: Sequence[str]) -> list[str | None]:
    """Return the thumbnails of photos as data URIs, None where there is none; see `thumbnails_of`."""
    chunks = [paths[start : start + PHOTOS_A_TASK] for start in range(0, len(paths), PHOTOS_A_TASK)]
    made = engine.map(thumbnails_of, chunks, ThumbnailJob(len(paths)))
    return [uri for uris in made for uri in uris]
