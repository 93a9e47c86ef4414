"""READ FIRST: the chain, as it is read aloud."""

from __future__ import annotations

from verger.manifest import MIN_TO_REDUCE, Manifest
from verger.progress import Progress
from verger.publish import check_apart
from verger.settings import Settings
from verger.uri import AnyPath
from verger.workplace import FEATURES, Workplace, workplace

# The steps are imported inside: the workers, or Spark, are starting meanwhile.


def run(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Photos -> features and rejected -> components -> files, with a manifest and a report."""
    with workplace("run", src, out, settings, progress) as place:
        return chain(place, src)


def chain(place: Workplace, src: str) -> Manifest:
    """What `run` does, in a workplace that is open."""
    from verger import extraction, reduction, sources, steps

    photos = sources.find_photos(place, src)
    network = extraction.prepare(place)
    additions = extraction.featurize(place, photos, network)
    steps.check_parity(place, network)
    if place.manifest.counts["features"] >= MIN_TO_REDUCE:
        update = reduction.update_of_result(place, additions)
        steps.export(place, reduction.reduce_features(place, place.stage / FEATURES, update))
    return steps.finish(place)


def features(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """The first half alone: photos -> features and rejected."""
    with workplace("features", src, out, settings, progress) as place:
        from verger import extraction, sources, steps

        photos = sources.find_photos(place, src)
        network = extraction.prepare(place)
        extraction.featurize(place, photos, network)
        steps.check_parity(place, network)
        steps.export(place, place.stage / FEATURES)
        return steps.finish(place)


def reduce(
    features: AnyPath, out: AnyPath, settings: Settings, progress: Progress, state: AnyPath | None
) -> Manifest:
    """The second half alone: features -> components; folded into an earlier PCA's state where given."""
    check_apart(out, [] if state is None else [str(state)])
    with workplace("reduce", str(features), out, settings, progress) as place:
        from verger import reduction, steps

        update = None if state is None else reduction.Update(state)
        steps.export(place, reduction.reduce_features(place, features, update))
        return steps.finish(place)


def pack(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Many small files -> few large ones that `run` takes as its source."""
    with workplace("pack", src, out, settings, progress) as place:
        from verger import sources, steps

        steps.pack(place, sources.list_shards(place, src))
        return steps.finish(place)
