"""The commands `verger train` and `verger evaluate`: read a result, write a classifier or an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from verger.engine.choice import LOCAL, choose_engine
from verger.errors import ClassifierError, SettingsError
from verger.kernel.classifier.classifier import (
    BUNDLED,
    FILE_NAME,
    Classifier,
    check_weights,
    load_classifier,
)
from verger.kernel.networks.catalog import CATALOG
from verger.kernel.networks.view_sets import WHOLE, view_set_name
from verger.learn.train import Examples, TrainingResult, train
from verger.learn.training_options import FEATURES, LDA, TrainOptions
from verger.pipeline.context import open_run
from verger.pipeline.pca_folder import read_projection
from verger.process.progress import Progress
from verger.settings import Settings
from verger.settings.spark_master import is_connect
from verger.storage.commit import check_not_read, scratch_folder, stage_result, table_folder
from verger.storage.manifest import MANIFEST, Manifest, read_manifest
from verger.storage.table_files import parquet_files
from verger.storage.table_parts import list_parts
from verger.storage.uri import AnyPath, remove_tree

EVALUATION = "evaluation.json"
MANIFEST_METRICS = (
    *("n_photos", "accuracy", "accuracy_95", "top3", "macro_f1"),
    *("ece", "ece_by_chance", "coverage", "accuracy_when_sure"),
)


def train_result(
    result: AnyPath, out: AnyPath, settings: Settings, progress: Progress, options: TrainOptions
) -> Manifest:
    """Train on the vectors of a result; write the classifier, its evaluation and a report to `out`.

    lda is trained by tasks, on any engine. For a logistic regression, the local engine trains in this process, with
    scikit-learn; the Spark engine trains with Spark ML.
    """
    check_not_read(out, [str(result)])
    if options.classifier == LDA:
        job = _TrainingJob(result, options, _read_network(result), progress)
        return _train_by_tasks(job, out, settings)
    is_local = choose_engine(settings, str(result)).name == LOCAL
    if not is_local and settings.master is not None and is_connect(settings.master):
        raise SettingsError(
            "master",
            settings.master,
            "a master of classic Spark, or --classifier lda: a logistic regression does not train on Spark Connect",
        )
    job = _TrainingJob(result, options, _read_network(result), progress)
    return _train_locally(job, out, settings) if is_local else _train_on_spark(job, out, settings)


@dataclass(frozen=True)
class _TrainingJob:
    """The inputs of a training; they do not depend on the engine."""

    result: AnyPath
    options: TrainOptions
    network: Mapping[str, Any]
    progress: Progress

    def run(self, examples: Examples) -> TrainingResult:
        """Train on the examples that the engine has read."""
        pca = None if self.options.column == FEATURES else read_projection(self.result / "model" / "pca")
        spec = dict(self.network["spec"])
        trained = train(examples, self.options, self.progress, network=spec, input_pca=pca)
        about = trained.classifier.about | {"weights_sha256": self.network.get("weights_sha256")}
        return replace(trained, classifier=replace(trained.classifier, about=about))


def _train_by_tasks(job: _TrainingJob, out: AnyPath, settings: Settings) -> Manifest:
    with open_run("train", str(job.result), out, settings, job.progress) as context:
        from verger.learn.fit_lda import SummedExamples

        column, scratch = job.options.column, scratch_folder(context.stage) / "sums"
        with context.manifest.timed("train"):
            parts = list_parts(parquet_files(table_folder(job.result, column)), column)
            trained = job.run(SummedExamples(context.engine, parts, scratch, job.options, job.progress))
            remove_tree(scratch)
        context.engine.release()
        return _write_classifier(context.manifest, trained, context.stage, out, settings)


def _train_locally(job: _TrainingJob, out: AnyPath, settings: Settings) -> Manifest:
    from verger.learn.fit_local import check_scikit_learn, read_examples

    check_scikit_learn()
    settings = settings.model_copy(update={"engine": LOCAL})
    manifest = Manifest.start("train", str(job.result), settings.model_dump(mode="json"))
    with stage_result(out, overwrite=settings.overwrite) as stage:
        with manifest.timed("train"):
            job.progress.stage("read")
            trained = job.run(read_examples(job.result, job.options.column, job.options.transform_name))
        return _write_classifier(manifest, trained, stage, out, settings)


def _train_on_spark(job: _TrainingJob, out: AnyPath, settings: Settings) -> Manifest:
    from verger.engine.spark.engine import SparkEngine

    with open_run("train", str(job.result), out, settings, job.progress) as context:
        from verger.learn.fit_spark import SparkExamples, read_table

        assert isinstance(context.engine, SparkEngine)
        session = context.engine.session
        with context.manifest.timed("start"):
            spark = session.spark()

        def fit() -> TrainingResult:
            column = job.options.column
            parts = list_parts(parquet_files(table_folder(job.result, column)), column)
            files = [part.file for part in parts]
            return job.run(SparkExamples(read_table(spark, files, column, job.options.transform_name), column))

        with context.manifest.timed("train"):
            trained = session.run(fit)
        session.release()
        return _write_classifier(context.manifest, trained, context.stage, out, settings)


def _write_classifier(
    manifest: Manifest, trained: TrainingResult, stage: AnyPath, out: AnyPath, settings: Settings
) -> Manifest:
    trained.classifier.save(stage / FILE_NAME)
    manifest.network = {"model": trained.classifier.network["model"]}
    return _write_evaluation(manifest, trained.evaluation, stage, out, settings)


def evaluate_result(
    classifier: AnyPath | None,
    result: AnyPath,
    out: AnyPath,
    settings: Settings,
    progress: Progress,
    *,
    by: str | None = None,
) -> Manifest:
    """Evaluate a classifier on a result's labelled features; write a report to `out`.

    classifier: None for the bundled one of the features' network. by: see learn.evaluate.
    """
    from verger.learn.evaluate import evaluate

    check_not_read(out, [str(result)] if classifier is None else [str(result), str(classifier)])
    manifest = Manifest.start("evaluate", str(result), settings.model_dump(mode="json"))
    with stage_result(out, overwrite=settings.overwrite) as stage:
        with manifest.timed("evaluate"):
            progress.stage("evaluate")
            loaded = _load_for(classifier, result)
            evaluation = evaluate(loaded, result, by=by)
        manifest.network = {"model": loaded.network.get("model")}
        return _write_evaluation(manifest, evaluation, stage, out, settings)


def _write_evaluation(
    manifest: Manifest, evaluation: dict[str, Any], stage: AnyPath, out: AnyPath, settings: Settings
) -> Manifest:
    manifest.evaluation = {key: evaluation[key] for key in MANIFEST_METRICS}
    curves = ("reliability", "coverage_curve")
    manifest.evaluation["species"] = {k: v for k, v in evaluation["species"].items() if k not in curves}
    if "by_group" in evaluation:
        manifest.evaluation["by_group"] = evaluation["by_group"]
    if "cross_validation" in evaluation:
        manifest.evaluation["cross_validation"] = evaluation["cross_validation"]
    manifest.timings_s["total"] = round(sum(manifest.timings_s.values()), 3)
    (stage / EVALUATION).write_text(json.dumps(evaluation, indent=1) + "\n")
    manifest.write(stage)
    if settings.report:
        from verger.report.evaluation import write_evaluation_report

        write_evaluation_report(stage, title=out.name)
    return manifest


def _load_for(path: AnyPath | None, result: AnyPath) -> Classifier:
    """Load a classifier, or the bundled one for the network of a result's features if `path` is None.

    Raises ClassifierError if the classifier was trained on features of another network of the catalog, of other
    views, or of other weights.
    """
    network = _find_network(result)
    spec = dict(network.get("spec") or {})
    model = spec.get("model")
    loaded = load_classifier(BUNDLED[model] if path is None and model in BUNDLED else path)
    trained_on, views = loaded.network.get("model"), view_set_name(loaded.network.get("views", WHOLE))
    expected, found = (trained_on, views), (model, view_set_name(spec.get("views", WHOLE)))
    if spec.get("weights") is None and expected != found and {model, trained_on} <= CATALOG.keys():
        raise ClassifierError(
            f"the classifier was trained on features of {trained_on} with the views {views}, but {result} has "
            f"features of {model} with the views {found[1]}: compute them with --model {trained_on} --views {views}"
        )
    check_weights(loaded, network.get("weights_sha256"), str(result))
    return loaded


def _find_network(result: AnyPath) -> Mapping[str, Any]:
    """Return what the manifest of a result says of the network of its features; empty if there is none."""
    for folder in (result, result.parent):
        if (folder / MANIFEST).is_file() and (network := read_manifest(folder).section("network")).get("spec"):
            return network
    return {}


def _read_network(result: AnyPath) -> Mapping[str, Any]:
    """Return what the manifest says of the network of a result's features; raises ClassifierError without it."""
    if network := _find_network(result):
        return network
    raise ClassifierError(
        f"{result} has no {MANIFEST} that names the network of its features: use a result of `verger run` or "
        "`verger features`; if an older version of verger wrote this result, compute it again"
    )
