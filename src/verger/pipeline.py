"""READ FIRST: the chain, as it is read aloud."""

from __future__ import annotations

from pathlib import Path

from verger.manifest import MIN_TO_REDUCE, Manifest
from verger.progress import Progress
from verger.settings import Settings
from verger.workplace import workplace

# The steps are imported inside: that takes a second or two, in which the JVM is already starting.


def run(src: str, out: Path, settings: Settings, progress: Progress) -> Manifest:
    """Photos -> features and rejected -> components -> files, with a manifest and a report."""
    with workplace("run", src, out, settings, progress) as place:
        from verger import steps

        images = steps.list_photos(place, src)
        features = steps.featurize(place, images)
        if place.manifest.counts["features"] >= MIN_TO_REDUCE:
            from verger import reduction

            steps.export(place, reduction.reduce_features(place, features))
        return steps.finish(place)


def features(src: str, out: Path, settings: Settings, progress: Progress) -> Manifest:
    """The first half alone: photos -> features and rejected."""
    with workplace("features", src, out, settings, progress) as place:
        from verger import steps

        steps.export(place, steps.featurize(place, steps.list_photos(place, src)))
        return steps.finish(place)


def reduce(features: Path, out: Path, settings: Settings, progress: Progress, state: Path | None) -> Manifest:
    """The second half alone: features -> components; folded into an earlier PCA's state where given."""
    with workplace("reduce", str(features), out, settings, progress) as place:
        from verger import reduction, steps

        steps.export(place, reduction.reduce_features(place, features, state))
        return steps.finish(place)
