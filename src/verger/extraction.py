"""The feature extraction of the chain: photos -> features and rejected, less what earlier runs have done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime

from verger import ingest
from verger.context import is_connect
from verger.errors import ResultError, SettingsError
from verger.export import features_of, remove_empty, write_parquet, write_rejected
from verger.featurize.device import CPU, prepare_on
from verger.featurize.journal import COMPUTED, Journal
from verger.featurize.network import Network
from verger.featurize.onnx_session import import_runtime
from verger.featurize.spark import Counts
from verger.featurize.spark import featurize as featurize_images
from verger.featurize.worker import WorkerOptions
from verger.report.artefacts import tally
from verger.resume import Earlier, find_earlier, fingerprint, make_plan
from verger.sources import Photos, images_of
from verger.uri import AnyPath, any_path, link_file
from verger.workplace import FEATURES, PLAN, REJECTED, Workplace

_LINKS_AT_A_TIME = 16

PATIENCE_S = 20.0
NO_EXECUTORS = (
    "waiting: the cluster has given no executor yet; it is busy, or its workers are smaller than "
    "--conf spark.executor.memory=1g, Spark's default"
)


def prepare(place: Workplace) -> Network:
    """Return the network of the settings, converted while Spark starts where it is not in the cache."""
    place.progress.stage("convert network")
    place.session.heed()  # a conversion takes many seconds
    with place.manifest.timed("convert"):
        network = prepare_on(place.spec, place.settings.device, place.settings.batch_size)
    if network.device != CPU:
        place.manifest.versions["onnxruntime"] = import_runtime(network.device).__version__
    return network


def featurize(place: Workplace, photos: Photos, network: Network) -> AnyPath | None:
    """Write `features` and `rejected` from one pass over the photos, less what earlier runs have done.

    Where the features are those of the result in place and some more, return the journal that holds these.
    """
    earlier = _recall(place, network)
    photos, kept = (photos, ()) if earlier is None else _plan(place, photos, earlier)
    place.progress.stage("start Spark")
    with place.manifest.timed("start"):
        images = images_of(place, photos)
    # Spark Connect has no accumulators: how far it is, it does not tell.
    counts = None if is_connect(images.sparkSession) else Counts(images)
    options = WorkerOptions(place.settings.max_pixels, decode=place.settings.decode)
    folder = _open_journal(place, network)
    journal = Journal(str(folder), earlier.known if earlier else None)
    outcomes = featurize_images(images, network, options, counts, journal)

    def write() -> None:
        write_parquet(features_of(outcomes), place.stage / FEATURES)
        if kept:
            remove_empty(place.stage / FEATURES)
        # From the journal: the photos are decoded once, and memory holds none of it.
        write_rejected(place.session.spark(), folder, place.stage / REJECTED)
        with ThreadPoolExecutor(_LINKS_AT_A_TIME) as pool:
            list(pool.map(lambda table: link_file(table, place.stage / FEATURES / table.name), kept))

    place.progress.stage("featurize", _n_todo(place, photos))
    with place.manifest.timed("featurize"):
        place.session.run(write, _watch(place, counts) if counts else lambda: None)
    place.manifest.network = network.describe() | {
        "spec": asdict(place.spec),
        "fingerprint": _fingerprint(place, network),
    }
    _count(place)
    place.progress.advance(_n_todo(place, photos), place.manifest.counts["rejected"])
    return None if earlier is None else _additions(place, folder, earlier)


def _fingerprint(place: Workplace, network: Network) -> str:
    return fingerprint(network, place.settings.max_pixels, place.settings.decode)


def _recall(place: Workplace, network: Network) -> Earlier | None:
    """Find what earlier runs have done, where this one is to resume."""
    if not place.settings.resume:
        return None
    place.progress.stage("recall")
    with place.manifest.timed("recall"):
        return find_earlier(place.out, place.journal, _fingerprint(place, network))


def _plan(place: Workplace, photos: Photos, earlier: Earlier) -> tuple[Photos, tuple[AnyPath, ...]]:
    """Return the photos that need a task, and the tables of the result in place that are kept as they are.

    Photos that Spark reads by itself are known by their content alone.
    """
    prune = place.settings.prune
    if not isinstance(photos, ingest.Listing):
        if earlier.n_published and not prune:
            raise SettingsError("prune", prune, "true where Spark reads the photos: the result is of these alone")
        return photos, ()
    with place.manifest.timed("recall"):
        folder = place.stage.with_name(PLAN)
        plan = make_plan(photos, earlier, folder, prune=prune, n_cores=place.session.n_cores)
    place.manifest.counts |= {"listed": plan.listing.n_photos, "gone": plan.n_gone}
    return plan.todo, tuple(any_path(table) for table in plan.kept)


def _n_todo(place: Workplace, photos: Photos) -> int:
    return photos.n_photos if isinstance(photos, ingest.Listing) else int(place.manifest.counts["listed"])


def _additions(place: Workplace, journal: AnyPath, earlier: Earlier) -> AnyPath | None:
    """Count what is new; return the journal where it is all that the result in place has not."""
    counts = place.manifest.counts
    counts["computed"] = tally(journal, COMPUTED)[True]
    counts["reused"] = counts["features"] - counts["computed"]
    n_unchanged = counts["features"] - tally(journal, "reason")[None]
    return journal if 0 < earlier.n_published == n_unchanged else None


def _open_journal(place: Workplace, network: Network) -> AnyPath:
    """Return the folder that takes what the tasks of this run have done."""
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    folder = place.journal / _fingerprint(place, network) / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _watch(place: Workplace, counts: Counts) -> Callable[[], None]:
    """Return what tells how far the workers are, and once that there are none, where that lasts."""
    started, is_told = time.monotonic(), False

    def tick() -> None:
        nonlocal is_told
        place.progress.advance(*counts.read())
        if not is_told and time.monotonic() - started > PATIENCE_S:
            is_told = True
            if not place.session.has_executors():
                place.progress.note(NO_EXECUTORS)

    return tick


def _count(place: Workplace) -> None:
    """Count what was written, and make sure that nothing was lost."""
    counts = place.manifest.counts
    labels, reasons = tally(place.stage / FEATURES, "label"), tally(place.stage / REJECTED, "reason")
    counts["features"], counts["rejected"] = labels.total(), reasons.total()
    counts["rejected_by_reason"] = dict(reasons.most_common())
    counts["labels"] = len(labels.keys() - {None})
    if counts["listed"] != counts["features"] + counts["rejected"]:
        raise ResultError(f"photos were lost on the way: {counts}")
