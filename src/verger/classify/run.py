"""The jobs behind `verger train` and `verger evaluate`: where they read, what they leave."""

from __future__ import annotations

import json
import time
from typing import Any

from verger.classify.model import FILE_NAME, load_classifier
from verger.classify.options import TrainOptions
from verger.errors import ClassifierError, SettingsError
from verger.manifest import Manifest
from verger.master import is_connect
from verger.progress import Progress
from verger.publish import MANIFEST, publishing, table_folder
from verger.settings import Settings
from verger.uri import AnyPath

FEATURES = "features"
EVALUATION = "evaluation.json"
TOLD = (
    *("n_photos", "accuracy", "accuracy_95", "top3", "macro_f1"),
    *("ece", "ece_by_chance", "coverage", "accuracy_when_sure"),
)


def train_result(
    result: AnyPath, out: AnyPath, settings: Settings, progress: Progress, options: TrainOptions, on: str = FEATURES
) -> Manifest:
    """Train on the `features` (or `components`) of a result; leave classifier, evaluation, report in `out`."""
    if is_connect(settings.master):
        raise SettingsError(
            "master", settings.master, "any but Spark Connect's: training runs on classic Spark only"
        )
    network = _network_of(result)

    from verger.workplace import MODEL, workplace

    with workplace("train", str(result), out, settings, progress) as place:
        from verger.classify.train import train
        from verger.reduce.spark import PCAModel

        with place.manifest.timed("start"):
            spark = place.session.spark()

        def fit() -> Any:
            earlier = None if on == FEATURES else PCAModel.load(str(result / MODEL / "pca")).projection
            table = spark.read.parquet(str(table_folder(result, on)))
            return train(table, on, options, progress, earlier=earlier, network=network)

        with place.manifest.timed("train"):
            trained = place.session.run(fit)
        place.session.release()
        trained.classifier.save(place.stage / FILE_NAME)
        place.manifest.network = {"model": network["model"]}
        return _finish(place.manifest, trained.evaluation, place.stage, out, settings)


def evaluate_result(
    classifier: AnyPath | None, result: AnyPath, out: AnyPath, settings: Settings, progress: Progress
) -> Manifest:
    """Evaluate a classifier (the bundled one where None) on a result's labelled features, into `out`."""
    from verger.classify.evaluate import evaluate

    manifest = Manifest("evaluate", str(result), settings.model_dump(mode="json"))
    started = time.monotonic()
    judged = load_classifier(classifier)
    with publishing(out, overwrite=settings.overwrite) as stage:
        progress.stage("evaluate")
        evaluation = evaluate(judged, result)
        manifest.network = {"model": judged.network.get("model")}
        manifest.timings_s["evaluate"] = round(time.monotonic() - started, 3)
        return _finish(manifest, evaluation, stage, out, settings)


def _finish(
    manifest: Manifest, evaluation: dict[str, Any], stage: AnyPath, out: AnyPath, settings: Settings
) -> Manifest:
    manifest.evaluation = {key: evaluation[key] for key in TOLD}
    manifest.timings_s["total"] = round(sum(manifest.timings_s.values()), 3)
    (stage / EVALUATION).write_text(json.dumps(evaluation, indent=1) + "\n")
    manifest.write(stage)
    if settings.report:
        from verger.report.evaluation import write_evaluation_report

        write_evaluation_report(stage, title=out.name)
    return manifest


def _network_of(result: AnyPath) -> dict[str, Any]:
    """Return the NetworkSpec that made a result's features, as its manifest tells it."""
    for folder in (result, result.parent):
        if (folder / MANIFEST).is_file():
            network = json.loads((folder / MANIFEST).read_text()).get("network") or {}
            if "spec" in network:
                return dict(network["spec"])
    raise ClassifierError(
        f"{result} does not tell which network its features are of: expected a result of `verger run` or "
        "`verger features` with its manifest.json; make it anew if it is of an older version"
    )
