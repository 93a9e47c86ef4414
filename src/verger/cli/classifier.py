"""Train, judge and ask a classifier; train a network further."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from verger.cli import tables
from verger.cli.app import EXIT_ERROR, Features, Result, Source, Trained, app, console
from verger.cli.flags import chain_command
from verger.cli.progress_bar import watching
from verger.process.progress import Progress
from verger.settings import ENGINE, RESULT, SPARK, Settings
from verger.storage.manifest import Manifest
from verger.storage.uri import any_path, local_folder


@chain_command(RESULT, ENGINE, SPARK)
def train(
    features: Features,
    out: Result,
    settings: Settings,
    watch: Progress,
    on: Annotated[Literal["features", "components"], typer.Option(help="what to train on")] = "features",
    group: Annotated[str, typer.Option(help="what folds never split: film, photo, none or regex:PATTERN")] = "film",
    folds: Annotated[int, typer.Option(help="of the cross-validation")] = 5,
    regularisation: Annotated[str, typer.Option(help="strengths to choose from")] = "0.00003,0.0003,0.003,0.03",
    accuracy: Annotated[float, typer.Option(help='of the answers given; below it says "not sure"')] = 0.95,
) -> Manifest:
    """Train a classifier on labelled features: logistic regression, cross-validated, calibrated.

    \b
    verger features photos/ out/ && verger train out/ classifier/
    verger train out/ classifier/ --on components --folds 3
    verger train out/ classifier/ --group 'regex:/([^/]+)_[0-9]+[.]jpg$'   # pictures of one series stay together
    """
    from verger.learn.classifier_jobs import train_result
    from verger.learn.training_options import TrainOptions, parse_regularisations

    strengths = parse_regularisations(regularisation)
    options = TrainOptions(group=group, n_folds=folds, regularisations=strengths, accuracy=accuracy)
    return train_result(any_path(features), any_path(out), settings, watch, options, on)


@chain_command(RESULT)
def evaluate(
    features: Features, out: Result, settings: Settings, watch: Progress, classifier: Trained = None
) -> Manifest:
    """How good a classifier is on labelled features it has not seen: figures, and a report.

    \b
    verger evaluate out/ judged/                             # the classifier that ships with verger
    verger evaluate other/ judged/ --classifier classifier/
    """
    from verger.learn.classifier_jobs import evaluate_result

    path = any_path(classifier) if classifier else None
    return evaluate_result(path, any_path(features), any_path(out), settings, watch)


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="photo files")],
    classifier: Trained = None,
    top: Annotated[int, typer.Option(min=1, help="so many names for each photo")] = 3,
    views: Annotated[
        int | None, typer.Option(help="look once (1), or at the corners too (5): slower, often better")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a photo, and nothing else")] = False,
) -> None:
    """Name the fruit in photos.

    \b
    verger predict fruit.jpg
    verger predict photos/*.jpg --top 5 --views 5
    verger predict fruit.jpg --classifier classifier/ --json
    """
    from verger.kernel.classifier.classifier import load_classifier
    from verger.learn.predict import predict

    chosen = load_classifier(any_path(classifier) if classifier else None)
    named = list(predict(photos, chosen, top=top, views=views))
    if as_json:
        print("\n".join(json.dumps(asdict(photo) | {"name": photo.name}) for photo in named))
    else:
        console.print(tables.naming_table(named))
    if all(photo.error for photo in named):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def finetune(
    photos: Source,
    out: Result,
    model: Annotated[
        str, typer.Option(help="a network of keras.applications, see `verger models`")
    ] = "MobileNetV2",
    weights: Annotated[str, typer.Option(help="start from imagenet, random:SEED or a .h5 file")] = "imagenet",
    head_epochs: Annotated[int, typer.Option(help="passes with the network frozen, for a new head")] = 3,
    epochs: Annotated[int, typer.Option(help="passes that train its upper layers too")] = 10,
    learning_rate: Annotated[float, typer.Option(help="of the upper layers, at most")] = 1e-4,
    validation: Annotated[float, typer.Option(help="share of each label's photos that is held out")] = 0.2,
    unfreeze: Annotated[float, typer.Option(help="share of the layers, from the top, that is trained")] = 0.35,
    size_px: Annotated[
        int | None, typer.Option(help="width and height of the input; the model's by default")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="photos a step")] = 32,
    seed: Annotated[int, typer.Option(help="of the split, the crops and the head")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing result")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON, and nothing else")] = False,
) -> None:
    """Train a network further on your own photos, a folder a label. Needs `pip install 'verger\\[train]'`.

    \b
    verger finetune photos/ tuned/ && verger predict fruit.jpg --classifier tuned/
    verger features photos/ out/ --weights tuned/model.keras
    verger finetune photos/ tuned/ --model EfficientNetB0 --epochs 20 --overwrite
    verger finetune photos/ tuned/ --size-px 128 --unfreeze 0.2        # quicker
    """
    from verger.learn.finetune.finetune import finetune
    from verger.learn.finetune.finetune_options import FinetuneOptions

    options = FinetuneOptions(
        model=model,
        weights=weights,
        head_epochs=head_epochs,
        epochs=epochs,
        learning_rate=learning_rate,
        validation=validation,
        unfreeze=unfreeze,
        size_px=size_px,
        batch_size=batch_size,
        seed=seed,
    )
    with watching(Console(stderr=True, quiet=as_json)) as watch:
        result = finetune(photos, local_folder(out), options, watch, overwrite)
    if as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        console.print(tables.finetune_summary(result, photos))
