"""The featurize stage on the driver: photos -> features, rejected. The worker side is `verger.tasks.featurize`."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq

from verger.errors import ResultError, SettingsError
from verger.kernel.decode import DECODER_VERSION
from verger.kernel.networks.device import CPU, prepare_network_on
from verger.kernel.networks.network import Network
from verger.kernel.networks.onnx_session import import_runtime
from verger.pipeline.context import FEATURES, REJECTED, RunContext
from verger.pipeline.discover import Photos, read_hadoop_photos
from verger.pipeline.earlier_results import find_earlier_results
from verger.pipeline.fingerprint import check_reusable, fingerprint
from verger.pipeline.resume import ResumePlan, plan_resume
from verger.sources.partitions import Listing
from verger.storage import schemas
from verger.storage.commit import scratch_folder, unfinished_runs
from verger.storage.table_files import parquet_files
from verger.storage.tables import count_values
from verger.storage.uri import AnyPath, any_path, link_file, read_parquet
from verger.tasks.featurize import FeaturizeJob, FeaturizeSummary, featurize_partition, featurize_rows
from verger.tasks.part_files import part_file

if TYPE_CHECKING:
    from verger.engine.spark.engine import SparkEngine

_LINKS_AT_A_TIME = 16

_FIRST_PART = "part-000000.parquet"

# Name of the folder, inside the scratch folder, for the listing of the photos that a run with --resume processes.
_PLAN = "plan"

# verger recommends decoding at a reduced scale if the mean size of the photos is above _LARGE_MEGAPIXELS (a network
# sees only 0.05), and if decoding took more than _LARGE_DECODING_SHARE of the workers' time.
_LARGE_MEGAPIXELS = 2.0
_LARGE_DECODING_SHARE = 0.5

# Characters of the fingerprint in the name of a part, by which a later run finds the parts that it can reuse.
_FINGERPRINT_CHARACTERS = 16


def prepare_network(context: RunContext) -> Network:
    """Return the network of the settings; convert it first if it is not in the cache."""
    context.progress.stage("convert network")
    context.engine.check_interrupt()  # a conversion takes many seconds
    with context.manifest.timed("convert"):
        network = prepare_network_on(context.spec, context.settings.device, context.settings.batch_size)
    if network.device != CPU:
        context.manifest.versions["onnxruntime"] = import_runtime(network.device).__version__
    return network


def featurize_photos(context: RunContext, photos: Photos, network: Network) -> list[AnyPath] | None:
    """Write `features` and `rejected` in one pass over the photos; with --resume, compute only new photos.

    Return the files with new features if all other features are those of the result at OUT, otherwise None.
    """
    key = fingerprint(network, context.settings.max_pixels, context.settings.decode)
    facts = {"spec": asdict(context.spec), "decoder": DECODER_VERSION, "fingerprint": key}
    context.manifest.network = network.describe() | facts
    plan = _plan(context, photos, key) if context.settings.resume else None
    todo = plan.todo if plan else photos
    features, rejected = context.stage / FEATURES, scratch_folder(context.stage) / REJECTED
    job = FeaturizeJob(
        network.for_workers(),
        str(features),
        str(rejected),
        f"{key[:_FINGERPRINT_CHARACTERS]}-{secrets.token_hex(3)}",
        context.settings.max_pixels,
        context.settings.photo_timeout_s,
        context.settings.decode,
        plan.features if plan else None,
    )
    features.mkdir(parents=True, exist_ok=True)
    if plan:
        _link(plan.kept, features)
    context.progress.stage("featurize", todo.n_photos if isinstance(todo, Listing) else None)
    with context.manifest.timed("featurize"):
        summaries = _run_tasks(context, todo, job)
        _join_rejected(rejected, context.stage / REJECTED)
        _write_if_empty(features)
    _count(context)
    if advice := _decoding_advice(context, summaries):
        context.progress.note(advice)
    n_done = sum(summary.n_features + summary.n_rejected for summary in summaries)
    context.progress.advance(n_done, context.manifest.counts["rejected"])
    return _additions(context, plan, summaries) if plan else None


def _run_tasks(context: RunContext, photos: Photos, job: FeaturizeJob) -> list[FeaturizeSummary]:
    on_progress = context.progress.advance
    if isinstance(photos, Listing):
        partitions = photos.partitions() if photos.n_photos else []
        return context.engine.map(featurize_partition, partitions, job, on_progress)
    frame, context.manifest.counts["listed"] = read_hadoop_photos(context, photos)
    return cast("SparkEngine", context.engine).map_frame(featurize_rows, frame, job, on_progress)


def _plan(context: RunContext, photos: Photos, key: str) -> ResumePlan:
    """Return the plan of a run with --resume. key: the fingerprint of the features of this run.

    Photos on Hadoop have no listing: all of them are read, and compared only by content. Raises ResultError if the
    result at OUT has features with another fingerprint, unless --overwrite is set.
    """
    if not context.settings.overwrite:
        check_reusable(context.out, context.manifest)
    prune, unfinished = context.settings.prune, unfinished_runs(context.stage)
    if prune and isinstance(photos, Listing) and photos.unlisted:
        expected = f"false while folders cannot be listed, as their photos would be removed: {photos.unlisted[0]}"
        raise SettingsError("prune", prune, expected)
    context.progress.stage("compare with earlier runs")
    with context.manifest.timed("recall"):
        earlier = find_earlier_results(context.out, unfinished, key, key[:_FINGERPRINT_CHARACTERS])
        if isinstance(photos, Listing):
            folder = scratch_folder(context.stage) / _PLAN
            plan = plan_resume(photos, earlier, folder, prune=prune, n_slots=context.engine.n_slots)
            context.manifest.counts |= plan.counts
            return plan
    if earlier.n_current and not prune:
        expected = "true, because a result of photos that Spark reads contains only the photos that are there now"
        raise SettingsError("prune", prune, expected)
    return ResumePlan(photos, earlier.features)


def _link(files: tuple[str, ...], folder: AnyPath) -> None:
    """Add whole tables of earlier runs to `folder`: as hard links, or as copies within an object store."""
    tables = [any_path(file) for file in files]
    with ThreadPoolExecutor(_LINKS_AT_A_TIME) as pool:
        list(pool.map(lambda table: link_file(table, folder / table.name), tables))


def _additions(context: RunContext, plan: ResumePlan, summaries: list[FeaturizeSummary]) -> list[AnyPath] | None:
    """Record the numbers of computed and reused features; return the value that `featurize_photos` returns."""
    counts = context.manifest.counts
    counts["computed"] = sum(summary.n_computed for summary in summaries)
    counts["reused"] = counts["features"] - counts["computed"]
    if not plan.keeps_all_current:
        return None
    kept = [any_path(file).name for file in plan.kept_of_unfinished_runs]
    written = [summary.file for summary in summaries[plan.n_unchanged_partitions :] if summary.file is not None]
    return [context.stage / FEATURES / name for name in kept + written]


def _decoding_advice(context: RunContext, summaries: list[FeaturizeSummary]) -> str | None:
    """Return advice if decoding large photos took much of the workers' time, otherwise None."""
    preparing_s = sum(summary.times.preparing_s for summary in summaries)
    inferring_s = sum(summary.times.inferring_s for summary in summaries)
    n_computed = sum(summary.n_computed for summary in summaries)
    megapixels = sum(summary.n_pixels for summary in summaries) / 1e6 / max(n_computed, 1)
    if context.settings.decode == "scaled" or megapixels < _LARGE_MEGAPIXELS:
        return None
    share = preparing_s / (preparing_s + inferring_s)
    if share < _LARGE_DECODING_SHARE:
        return None
    return (
        f"decoding photos of {megapixels:.0f} megapixels took {share:.0%} of the workers' time: --decode scaled is "
        "about three times as fast on JPEGs, and nearly exact (cosine to exact features over 0.999)"
    )


def _join_rejected(parts: AnyPath, folder: AnyPath) -> None:
    """Join the parts of `rejected` from all tasks to one file, in the order of the photos."""
    with part_file(folder / _FIRST_PART) as target, pq.ParquetWriter(target, schemas.REJECTED) as writer:
        for part in parquet_files(parts):
            writer.write_table(read_parquet(part))


def _write_if_empty(folder: AnyPath) -> None:
    """If a folder of features has no files, write a file without rows, so that readers find the columns."""
    if not parquet_files(folder):
        with part_file(folder / _FIRST_PART) as target:
            pq.write_table(schemas.FEATURES.empty_table(), target)


def _count(context: RunContext) -> None:
    """Count the rows written; raises ResultError if a photo is in neither of the two tables."""
    counts = context.manifest.counts
    labels = count_values(context.stage / FEATURES, "label")
    reasons = count_values(context.stage / REJECTED, "reason")
    counts["features"], counts["rejected"] = labels.total(), reasons.total()
    counts["rejected_by_reason"] = dict(reasons.most_common())
    counts["labels"] = len(labels.keys() - {None})
    if counts["listed"] != counts["features"] + counts["rejected"]:
        raise ResultError(f"photos are missing from the result, so nothing was written: run again ({counts})")
