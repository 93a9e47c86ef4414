"""READ FIRST: the chain, as it is read aloud."""

from __future__ import annotations

from pathlib import Path

from verger.manifest import Manifest
from verger.progress import Progress
from verger.settings import Settings
from verger.steps import export, featurize, finish, list_photos, reduce_features, workplace


def run(src: str, out: Path, settings: Settings, progress: Progress) -> Manifest:
    """Photos -> features and rejected -> components -> files, with a manifest and a report."""
    with workplace("run", src, out, settings, progress) as place:
        images = list_photos(place, src)
        features = featurize(place, images)
        components = reduce_features(place, features)
        export(place, components)
        return finish(place)


def features(src: str, out: Path, settings: Settings, progress: Progress) -> Manifest:
    """The first half alone: photos -> features and rejected."""
    with workplace("features", src, out, settings, progress) as place:
        export(place, featurize(place, list_photos(place, src)))
        return finish(place)


def reduce(features: Path, out: Path, settings: Settings, progress: Progress, state: Path | None) -> Manifest:
    """The second half alone: features -> components; folded into the PCA state of earlier ones where given."""
    with workplace("reduce", str(features), out, settings, progress) as place:
        export(place, reduce_features(place, features, state))
        return finish(place)
