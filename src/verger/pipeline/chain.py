"""READ THIS FIRST: the commands `run`, `features`, `reduce` and `pack`, each as a list of stages in order."""

from __future__ import annotations

from pathlib import Path

from verger.pipeline.context import FEATURES, open_run
from verger.process.progress import Progress
from verger.settings import Settings
from verger.storage.manifest import MIN_TO_REDUCE, Manifest
from verger.storage.uri import AnyPath

# The stages are imported inside `with`: the imports then run while the workers or Spark are starting.


def run(src: str, out: AnyPath, settings: Settings, progress: Progress, archive: Path | None = None) -> Manifest:
    """Photos -> features and rejected -> components -> exports, manifest and report."""
    with open_run("run", src, out, settings, progress, class_archive=archive) as context:
        from verger.pipeline import discover, export, featurize, finalize, parity, reduce

        photos = discover.find_photos(context, src)
        network = featurize.prepare_network(context)
        additions = featurize.featurize_photos(context, photos, network)
        parity.check_parity(context, network)
        if context.manifest.counts["features"] >= MIN_TO_REDUCE:
            update = reduce.find_update(context, additions)
            export.export_table(context, reduce.reduce_features(context, context.stage / FEATURES, update))
        return finalize.finish(context)


def features(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Photos -> features and rejected: the first half of `run`."""
    with open_run("features", src, out, settings, progress) as context:
        from verger.pipeline import discover, export, featurize, finalize, parity

        photos = discover.find_photos(context, src)
        network = featurize.prepare_network(context)
        featurize.featurize_photos(context, photos, network)
        parity.check_parity(context, network)
        export.export_table(context, context.stage / FEATURES)
        return finalize.finish(context)


def reduce(src: AnyPath, out: AnyPath, settings: Settings, progress: Progress, state: AnyPath | None) -> Manifest:
    """Features -> components: the second half of `run`. state: an earlier PCA to update with these features."""
    with open_run("reduce", str(src), out, settings, progress, earlier=state) as context:
        from verger.pipeline import export, finalize, reduce

        update = None if state is None else reduce.PcaUpdate(state)
        export.export_table(context, reduce.reduce_features(context, src, update))
        return finalize.finish(context)


def pack(src: str, out: AnyPath, settings: Settings, progress: Progress) -> Manifest:
    """Many small photos -> few large files, which `run` accepts as its source."""
    with open_run("pack", src, out, settings, progress) as context:
        from verger.pipeline import discover, finalize, pack

        pack.pack_photos(context, discover.find_photos_to_pack(context, src))
        return finalize.finish(context)
