"""READ FIRST: the chain, as it is read aloud."""

from __future__ import annotations

from verger.pipeline.context import FEATURES, Workplace, workplace
from verger.process.progress import Progress
from verger.settings import Settings
from verger.storage.commit import check_apart
from verger.storage.manifest import MIN_TO_REDUCE, Manifest
from verger.storage.uri import AnyPath

# The steps are imported inside: the workers, or Spark, are starting meanwhile.


def run(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Photos -> features and rejected -> components -> files, with a manifest and a report."""
    with workplace("run", src, out, settings, progress) as place:
        return chain(place, src)


def chain(place: Workplace, src: str) -> Manifest:
    """What `run` does, in a workplace that is open."""
    from verger.pipeline import discover, featurize, finalize, reduce

    photos = discover.find_photos(place, src)
    network = featurize.prepare(place)
    additions = featurize.featurize(place, photos, network)
    finalize.check_parity(place, network)
    if place.manifest.counts["features"] >= MIN_TO_REDUCE:
        update = reduce.update_of_result(place, additions)
        finalize.export(place, reduce.reduce_features(place, place.stage / FEATURES, update))
    return finalize.finish(place)


def features(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """The first half alone: photos -> features and rejected."""
    with workplace("features", src, out, settings, progress) as place:
        from verger.pipeline import discover, featurize, finalize

        photos = discover.find_photos(place, src)
        network = featurize.prepare(place)
        featurize.featurize(place, photos, network)
        finalize.check_parity(place, network)
        finalize.export(place, place.stage / FEATURES)
        return finalize.finish(place)


def reduce(
    features: AnyPath, out: AnyPath, settings: Settings, progress: Progress, state: AnyPath | None
) -> Manifest:
    """The second half alone: features -> components; folded into an earlier PCA's state where given."""
    check_apart(out, [] if state is None else [str(state)])
    with workplace("reduce", str(features), out, settings, progress) as place:
        from verger.pipeline import finalize, reduce

        update = None if state is None else reduce.Update(state)
        finalize.export(place, reduce.reduce_features(place, features, update))
        return finalize.finish(place)


def pack(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Many small files -> few large ones that `run` takes as its source."""
    with workplace("pack", src, out, settings, progress) as place:
        from verger.pipeline import discover, finalize

        finalize.pack(place, discover.list_shards(place, src))
        return finalize.finish(place)
