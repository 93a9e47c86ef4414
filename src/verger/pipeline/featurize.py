"""The featurize step of the chain: photos -> features and rejected, without what earlier runs have done."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from verger.errors import ResultError, SettingsError
from verger.kernel.networks.device import CPU, prepare_on
from verger.kernel.networks.network import Network
from verger.kernel.networks.onnx_session import import_runtime
from verger.pipeline.context import FEATURES, REJECTED, RunContext
from verger.pipeline.discover import Photos, listed_partitions, read_hadoop_photos
from verger.pipeline.export import write_if_empty, write_rejected
from verger.pipeline.resume import Plan, check_reusable, find_earlier, fingerprint, make_plan
from verger.sources.partitions import Listing
from verger.storage.commit import scratch_folder, unfinished_runs
from verger.storage.tables import count_values
from verger.storage.uri import AnyPath, any_path, link_file
from verger.tasks.featurize import FeaturizeJob, FeaturizeSummary, featurize_partition, featurize_rows

if TYPE_CHECKING:
    from verger.engine.spark.engine import SparkEngine

_LINKS_AT_A_TIME = 16

# In the scratch folder: the listing of the photos that a run which resumes has still something to do for.
_PLAN = "plan"

# From here on decoding at a reduced scale pays: the networks see 0.05 megapixels.
_LARGE_MEGAPIXELS = 2.0

# Characters of the fingerprint in the name of a part: a later run knows by them which parts it can use.
_FINGERPRINT_CHARACTERS = 16


def prepare_network(context: RunContext) -> Network:
    """Return the network of the settings, converted where it is not in the cache."""
    context.progress.stage("convert network")
    context.engine.check_interrupt()  # a conversion takes many seconds
    with context.manifest.timed("convert"):
        network = prepare_on(context.spec, context.settings.device, context.settings.batch_size)
    if network.device != CPU:
        context.manifest.versions["onnxruntime"] = import_runtime(network.device).__version__
    return network


def featurize_photos(context: RunContext, photos: Photos, network: Network) -> list[AnyPath] | None:
    """Write `features` and `rejected` from one pass over the photos, without what earlier runs have done.

    Where the features are those of the result in place and some more, return the files that hold these.
    """
    key = fingerprint(network, context.settings.max_pixels, context.settings.decode)
    context.manifest.network = network.describe() | {"spec": asdict(context.spec), "fingerprint": key}
    plan = _make_plan(context, photos, key)
    todo = plan.todo if plan else photos
    job = FeaturizeJob(
        network.for_workers(),
        str(context.stage / FEATURES),
        str(scratch_folder(context.stage) / REJECTED),
        f"{key[:_FINGERPRINT_CHARACTERS]}-{secrets.token_hex(3)}",
        context.settings.max_pixels,
        context.settings.photo_timeout_s,
        context.settings.decode,
        plan.known if plan else None,
    )
    (context.stage / FEATURES).mkdir(parents=True, exist_ok=True)
    if plan:
        _link(plan.kept, context.stage / FEATURES)
    context.progress.stage("featurize", todo.n_photos if isinstance(todo, Listing) else None)
    with context.manifest.timed("featurize"):
        done = _run(context, todo, job)
        write_rejected(scratch_folder(context.stage) / REJECTED, context.stage / REJECTED)
        write_if_empty(context.stage / FEATURES)
    _count(context)
    if advice := _decoding_advice(context, done):
        context.progress.note(advice)
    context.progress.advance(
        sum(summary.n_features + summary.n_rejected for summary in done), context.manifest.counts["rejected"]
    )
    return _additions(context, plan, done) if plan else None


def _run(context: RunContext, photos: Photos, job: FeaturizeJob) -> list[FeaturizeSummary]:
    watch = context.progress.advance
    if isinstance(photos, Listing):
        partitions = listed_partitions(photos) if photos.n_photos else []
        return context.engine.map(featurize_partition, partitions, job, watch)
    frame, context.manifest.counts["listed"] = read_hadoop_photos(context, photos)
    return cast("SparkEngine", context.engine).map_frame(featurize_rows, frame, job, watch)


def _make_plan(context: RunContext, photos: Photos, key: str) -> Plan | None:
    """Return what is to be done where this run resumes, None where it does not.

    Photos that Spark reads by itself are known by their content alone. Raises ResultError where the result in place
    has features with another fingerprint than `key`, and is not to be overwritten.
    """
    if not context.settings.resume:
        return None
    if not context.settings.overwrite:
        check_reusable(context.out, context.manifest)
    context.progress.stage("compare with earlier runs")
    with context.manifest.timed("recall"):
        earlier = find_earlier(context.out, unfinished_runs(context.stage), key, key[:_FINGERPRINT_CHARACTERS])
        if isinstance(photos, Listing):
            plan = make_plan(
                photos,
                earlier,
                scratch_folder(context.stage) / _PLAN,
                prune=context.settings.prune,
                n_cores=context.engine.n_slots,
            )
            context.manifest.counts |= {"listed": plan.listing.n_photos, "gone": plan.n_gone}
            return plan
    if earlier.n_published and not context.settings.prune:
        expected = "true where Spark reads the photos: the result is of these alone"
        raise SettingsError("prune", context.settings.prune, expected)
    return Plan.of_content(photos, earlier)


def _link(files: tuple[str, ...], folder: AnyPath) -> None:
    """Take whole parts of earlier runs over."""
    tables = [any_path(file) for file in files]
    with ThreadPoolExecutor(_LINKS_AT_A_TIME) as pool:
        list(pool.map(lambda table: link_file(table, folder / table.name), tables))


def _additions(context: RunContext, plan: Plan, done: list[FeaturizeSummary]) -> list[AnyPath] | None:
    """Count what is new; return its files where the rest is all that the result in place has."""
    counts = context.manifest.counts
    counts["computed"] = sum(summary.n_computed for summary in done)
    counts["reused"] = counts["features"] - counts["computed"]
    if not plan.keeps_all_published:
        return None
    folder = context.stage / FEATURES
    written = [summary.file for summary in done[plan.n_unchanged_tasks :] if summary.file is not None]
    return [folder / any_path(file).name for file in plan.adopted] + [folder / name for name in written]


def _decoding_advice(context: RunContext, done: list[FeaturizeSummary]) -> str | None:
    """Return what to do where decoding large photos took most of the time; None where it did not."""
    preparing_s = sum(summary.times.preparing_s for summary in done)
    inferring_s = sum(summary.times.inferring_s for summary in done)
    n_computed = sum(summary.n_computed for summary in done)
    megapixels = sum(summary.n_pixels for summary in done) / 1e6 / max(n_computed, 1)
    if context.settings.decode == "scaled" or megapixels < _LARGE_MEGAPIXELS or preparing_s < inferring_s:
        return None
    share = preparing_s / (preparing_s + inferring_s)
    return (
        f"decoding photos of {megapixels:.0f} megapixels took {share:.0%} of the workers' time: --decode scaled is "
        "about three times as fast on JPEGs, and nearly exact (cosine to exact features over 0.999)"
    )


def _count(context: RunContext) -> None:
    """Count what was written, and make sure that nothing was lost."""
    counts = context.manifest.counts
    labels, reasons = (
        count_values(context.stage / FEATURES, "label"),
        count_values(context.stage / REJECTED, "reason"),
    )
    counts["features"], counts["rejected"] = labels.total(), reasons.total()
    counts["rejected_by_reason"] = dict(reasons.most_common())
    counts["labels"] = len(labels.keys() - {None})
    if counts["listed"] != counts["features"] + counts["rejected"]:
        raise ResultError(f"photos were lost on the way: {counts}")
