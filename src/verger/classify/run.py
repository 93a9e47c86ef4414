"""The jobs behind `verger train` and `verger evaluate`: where they read, what they leave."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from verger.classify.model import FILE_NAME, load_classifier
from verger.errors import ClassifierError, SettingsError, SourceError
from verger.manifest import Manifest
from verger.progress import Progress
from verger.publish import MANIFEST, publishing
from verger.settings import Settings

FEATURES = "features"
EVALUATION = "evaluation.json"
TOLD = ("accuracy", "accuracy_95", "top3", "macro_f1", "ece", "coverage", "accuracy_when_sure", "n_photos")


def train_result(
    result: Path, out: Path, settings: Settings, progress: Progress, options: dict[str, Any]
) -> Manifest:
    """Train on the `features` (or `components`) of a result; leave classifier, evaluation, report in `out`.

    `options`: `on` (features or components), and those of TrainOptions.
    """
    on = options.pop("on")
    options["regularisations"] = _numbers("regularisation", options["regularisations"])
    network = _network_of(result)

    from verger.workplace import MODEL, workplace

    with workplace("train", str(result), out, settings, progress) as place:
        from verger.classify.train import TrainOptions, train
        from verger.reduce.spark import PCAModel

        train_options = TrainOptions(**options)
        with place.manifest.timed("start"):
            spark = place.session.spark()

        def fit() -> Any:
            earlier = None if on == FEATURES else PCAModel.load(str(result / MODEL / "pca")).projection
            table = spark.read.parquet(str(_table(result, on)))
            return train(table, on, train_options, progress, earlier=earlier, network=network)

        with place.manifest.timed("train"):
            trained = place.session.run(fit)
        place.session.release()
        trained.classifier.save(place.stage / FILE_NAME)
        place.manifest.network = {"model": network["model"]}
        return _finish(place.manifest, trained.evaluation, place.stage, out, settings)


def evaluate_result(
    classifier: Path | None, result: Path, out: Path, settings: Settings, progress: Progress
) -> Manifest:
    """Evaluate a classifier (the bundled one where None) on a result's labelled features, into `out`."""
    from verger.classify.evaluate import evaluate

    manifest = Manifest("evaluate", str(result), settings.model_dump(mode="json"))
    started = time.monotonic()
    judged = load_classifier(classifier)
    with publishing(out, overwrite=settings.overwrite) as stage:
        progress.stage("evaluate")
        evaluation = evaluate(judged, _table(result, FEATURES))
        manifest.network = {"model": judged.network.get("model")}
        manifest.timings_s["evaluate"] = round(time.monotonic() - started, 3)
        return _finish(manifest, evaluation, stage, out, settings)


def _finish(manifest: Manifest, evaluation: dict[str, Any], stage: Path, out: Path, settings: Settings) -> Manifest:
    manifest.evaluation = {key: evaluation[key] for key in TOLD}
    manifest.timings_s["total"] = round(sum(manifest.timings_s.values()), 3)
    (stage / EVALUATION).write_text(json.dumps(evaluation, indent=1) + "\n")
    manifest.write(stage)
    if settings.report:
        from verger.report.evaluation import write_evaluation_report

        write_evaluation_report(stage, title=out.name)
    return manifest


def _table(result: Path, name: str) -> Path:
    """Accept a result of verger, or the table's folder itself."""
    for folder in (result / name, result):
        if folder.is_dir() and any(folder.glob("*.parquet")):
            return folder
    raise SourceError(f"{result} holds no {name}: expected a result of `verger run` or `verger features`")


def _numbers(key: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(key, text, "numbers with commas between them") from error


def _network_of(result: Path) -> dict[str, Any]:
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
