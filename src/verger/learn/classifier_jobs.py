"""The jobs behind `verger train` and `verger evaluate`: where they read, what they leave."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from verger.engine.choice import LOCAL, SPARK, choose_engine
from verger.errors import ClassifierError, SettingsError
from verger.kernel.classifier.classifier import FILE_NAME, load_classifier
from verger.kernel.pca import Projection
from verger.learn.train import Examples, Trained, train
from verger.learn.training_options import TrainOptions
from verger.pipeline.pca_folder import read_projection
from verger.process.progress import Progress
from verger.settings import Settings
from verger.spark_master import is_connect
from verger.storage.commit import check_not_read, stage_result, table_folder
from verger.storage.manifest import MANIFEST, Manifest
from verger.storage.uri import AnyPath, parquet_files

FEATURES = "features"
EVALUATION = "evaluation.json"
TOLD = (
    *("n_photos", "accuracy", "accuracy_95", "top3", "macro_f1"),
    *("ece", "ece_by_chance", "coverage", "accuracy_when_sure"),
)


def train_result(
    result: AnyPath, out: AnyPath, settings: Settings, progress: Progress, options: TrainOptions, on: str = FEATURES
) -> Manifest:
    """Train on the `features` (or `components`) of a result; leave classifier, evaluation, report in `out`.

    The local engine is this process, with scikit-learn; on Spark it is Spark ML.
    """
    check_not_read(out, [str(result)])
    choice = choose_engine(settings, str(result))
    if choice.name == SPARK and settings.master is not None and is_connect(settings.master):
        raise SettingsError(
            "master", settings.master, "any but Spark Connect's: training runs on classic Spark only"
        )
    training = _Training(result, on, options, _network_of(result), progress)
    run = _train_locally if choice.name == LOCAL else _train_on_spark
    return run(training, out, settings)


@dataclass(frozen=True)
class _Training:
    """What is trained on, and how, whichever engine does it."""

    result: AnyPath
    on: str
    options: TrainOptions
    network: dict[str, Any]
    progress: Progress

    def earlier(self) -> Projection | None:
        """Return the PCA that the vectors come from, None where they are features."""
        return None if self.on == FEATURES else read_projection(self.result / "model" / "pca")

    def run(self, examples: Examples) -> Trained:
        """Train on the examples of an engine."""
        return train(examples, self.options, self.progress, network=self.network, earlier=self.earlier())


def _train_locally(training: _Training, out: AnyPath, settings: Settings) -> Manifest:
    from verger.learn.fit_local import check_scikit_learn, read_examples

    check_scikit_learn()
    settings = settings.model_copy(update={"engine": LOCAL})
    manifest = Manifest.start("train", str(training.result), settings.model_dump(mode="json"))
    with stage_result(out, overwrite=settings.overwrite) as stage:
        with manifest.timed("train"):
            training.progress.stage("read")
            trained = training.run(read_examples(training.result, training.on))
        return _finish_training(manifest, trained, stage, out, settings)


def _train_on_spark(training: _Training, out: AnyPath, settings: Settings) -> Manifest:
    from verger.engine.spark.engine import SparkEngine
    from verger.pipeline.context import open_run

    with open_run("train", str(training.result), out, settings, training.progress) as context:
        from verger.learn.fit_spark import SparkExamples, read_table

        assert isinstance(context.engine, SparkEngine)
        session = context.engine.session
        with context.manifest.timed("start"):
            spark = session.spark()

        def fit() -> Trained:
            files = [str(file) for file in parquet_files(table_folder(training.result, training.on))]
            return training.run(SparkExamples(read_table(spark, files, training.on), training.on))

        with context.manifest.timed("train"):
            trained = session.run(fit)
        session.release()
        return _finish_training(context.manifest, trained, context.stage, out, settings)


def _finish_training(
    manifest: Manifest, trained: Trained, stage: AnyPath, out: AnyPath, settings: Settings
) -> Manifest:
    trained.classifier.save(stage / FILE_NAME)
    manifest.network = {"model": trained.classifier.network["model"]}
    return _finish(manifest, trained.evaluation, stage, out, settings)


def evaluate_result(
    classifier: AnyPath | None, result: AnyPath, out: AnyPath, settings: Settings, progress: Progress
) -> Manifest:
    """Evaluate a classifier (the bundled one where None) on a result's labelled features, into `out`."""
    from verger.learn.evaluate import evaluate

    check_not_read(out, [str(result)] if classifier is None else [str(result), str(classifier)])
    manifest = Manifest.start("evaluate", str(result), settings.model_dump(mode="json"))
    started = time.monotonic()
    judged = load_classifier(classifier)
    with stage_result(out, overwrite=settings.overwrite) as stage:
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
