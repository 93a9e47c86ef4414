"""Commands that recognise fruit: train, evaluate, predict, augment and finetune."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console

from verger.cli import tables
from verger.cli.app import (
    EXIT_ERROR,
    RECOGNITION,
    Features,
    Result,
    Source,
    Trained,
    app,
    atomic_result,
    console,
    messages,
)
from verger.cli.flags import pipeline_command
from verger.cli.progress_bar import show_progress
from verger.process.progress import Progress
from verger.settings import ENGINE, RESULT, SPARK, VIEWS_HELP, Settings
from verger.storage.manifest import Manifest
from verger.storage.uri import any_path, local_folder

Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing result")]


@pipeline_command((RESULT, ENGINE, SPARK), RECOGNITION)
def train(
    features: Features,
    out: Result,
    settings: Settings,
    progress: Progress,
    on: Annotated[Literal["features", "components"], typer.Option(help="the table to train on")] = "features",
    group: Annotated[
        str, typer.Option(help="groups of photos that stay in one fold: film, photo, none or regex:PATTERN")
    ] = "film",
    folds: Annotated[
        str,
        typer.Option(
            help="number of cross-validation folds; groups: leave one group out at a time (above 20: five folds)"
        ),
    ] = "5",
    classifier: Annotated[
        str, typer.Option(help="logistic: a logistic regression; lda: linear discriminant analysis with shrinkage")
    ] = "logistic",
    regularisation: Annotated[
        str | None,
        typer.Option(help="logistic: strengths to choose from \\[default: 0.00003,0.0003,0.003,0.03]"),
    ] = None,
    shrinkage: Annotated[
        str | None,
        typer.Option(help="lda: shrinkages to choose from \\[default: 0.01,0.02,0.05,0.1,0.2,0.3,0.5]"),
    ] = None,
    priors: Annotated[
        str | None,
        typer.Option(help="lda: uniform, or empirical (photos per label) \\[default: uniform]"),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            help="transform of features: none, l2 or signed-sqrt \\[default: lda signed-sqrt, logistic none]"
        ),
    ] = None,
    accuracy: Annotated[
        float,
        typer.Option(help='accuracy that named species must reach; less certain answers become "not sure"'),
    ] = 0.95,
) -> Manifest:
    """Train a classifier on labelled features: cross-validated and calibrated.

    \b
    verger features photos/ out/ && verger train out/ classifier/
    verger train out/ classifier/ --on components --folds 3
    verger train out/ classifier/ --group 'regex:/([^/]+)_[0-9]+[.]jpg$'   # keep series of photos together
    verger train out/ classifier/ --classifier lda    # reads the features once
    verger train out/ classifier/ --classifier lda --shrinkage 0.1,0.2 --transform l2
    verger train out/ clf/ --group 'regex:/([^/]+)/[^/]+/[^/]+$' --folds groups   # photos/SHOP/LABEL/x.jpg
    """
    from verger.learn.classifier_jobs import train_result
    from verger.learn.training_options import TrainFlags, parse_options

    flags = TrainFlags(classifier, regularisation, shrinkage, priors, folds)
    options = parse_options(flags, column=on, group=group, transform=transform, accuracy=accuracy)
    return train_result(any_path(features), any_path(out), settings, progress, options)


@pipeline_command((RESULT,), RECOGNITION)
def evaluate(
    features: Features,
    out: Result,
    settings: Settings,
    progress: Progress,
    classifier: Trained = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="also report groups: source (the first folder in which the paths differ), or regex:PATTERN"
        ),
    ] = None,
) -> Manifest:
    """Measure a classifier's accuracy on labelled features that were not used for training, and write a report.

    Labels of other data sets are mapped to the classifier's. A photo with the label of a species counts for species
    only. Photos labelled "Not a fruit" must be refused.

    \b
    verger evaluate out/ judged/                             # the bundled classifier of this network
    verger evaluate other/ judged/ --classifier classifier/
    verger evaluate other/ judged/ --by source               # photos/shops/..., photos/flickr/...
    verger evaluate other/ judged/ --by 'regex:/([^/]+)/[^/]+/[^/]+$'   # photos/SHOP/LABEL/x.jpg
    """
    from verger.kernel.classifier.classifier import classifier_path
    from verger.learn.classifier_jobs import evaluate_result

    trained = classifier_path(classifier) if classifier is not None else None
    return evaluate_result(trained, any_path(features), any_path(out), settings, progress, by=by)


@app.command(rich_help_panel=RECOGNITION)
def predict(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="photo files, or URIs of photos")],
    classifier: Trained = None,
    top: Annotated[int, typer.Option(min=1, help="number of likely species (--json: also labels) to show")] = 3,
    views: Annotated[str | None, typer.Option(help=f"{VIEWS_HELP} [dim]\\[default: as in training][/dim]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print only one JSON object for each photo")] = False,
) -> None:
    """Name the fruit in photos: the species, and the variety if the classifier is sure of it.

    Other answers are "not sure", with the species that are possible, and "not a fruit".

    \b
    verger predict fruit.jpg
    verger predict fruit.jpg --classifier fruitnet           # a bundled classifier
    verger predict photos/*.jpg --top 5 --views crops
    verger predict fruit.jpg --classifier classifier/ --json
    """
    from verger.kernel.classifier.classifier import classifier_path, load_classifier
    from verger.learn.predict import predict

    chosen = load_classifier(classifier_path(classifier))
    predictions = list(predict(photos, chosen, top=top, views=views))
    if as_json:
        print("\n".join(json.dumps(asdict(photo) | {"name": photo.name}) for photo in predictions))
    else:
        console.print(tables.prediction_table(predictions))
    if all(photo.error for photo in predictions):
        raise typer.Exit(EXIT_ERROR)


@app.command(rich_help_panel=RECOGNITION)
def augment(
    photos: Source,
    out: Result,
    per_photo: Annotated[int, typer.Option(help="views of each photo, in addition to the whole photo")] = 12,
    size_px: Annotated[int, typer.Option(help="width and height of a view in pixels")] = 256,
    smallest: Annotated[float, typer.Option(help="smallest share of a photo that a view may show")] = 0.12,
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write cropped, mirrored and relit views of labelled photos; they help to train a better classifier.

    \b
    verger augment photos/ views/
    verger features views/ out/ && verger train out/ classifier/ --group photo
    """
    from verger.learn.augment.augment import AugmentOptions, write_views

    options = AugmentOptions(per_photo=per_photo, size_px=size_px, smallest=smallest, seed=seed)
    with atomic_result(), show_progress(messages) as progress:
        manifest = write_views(photos, local_folder(out), options, progress, overwrite=overwrite)
    console.print(tables.augment_summary(manifest, local_folder(out)))


@app.command(rich_help_panel=RECOGNITION)
def finetune(
    photos: Source,
    out: Result,
    model: Annotated[
        str, typer.Option(help="a network of keras.applications, see `verger models`")
    ] = "MobileNetV2",
    weights: Annotated[str, typer.Option(help="initial weights: imagenet, random:SEED or a .h5 file")] = "imagenet",
    head_epochs: Annotated[int, typer.Option(help="epochs that train only the new head")] = 3,
    epochs: Annotated[int, typer.Option(help="epochs that train the upper layers too")] = 10,
    learning_rate: Annotated[float, typer.Option(help="highest learning rate of the upper layers")] = 1e-4,
    validation: Annotated[float, typer.Option(help="share of each label's photos held out for validation")] = 0.2,
    unfreeze: Annotated[float, typer.Option(help="share of the layers to train, counted from the top")] = 0.35,
    size_px: Annotated[
        int | None, typer.Option(help="width and height of the input in pixels \\[default: the model's]")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="number of photos in a training step")] = 32,
    seed: Annotated[int, typer.Option(help="random seed for the split, the crops and the new head")] = 0,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="print only the result, as JSON")] = False,
) -> None:
    """Fine-tune a network on your own photos, one folder for each label.

    Needs `pip install 'verger\\[train]'`.

    \b
    verger finetune photos/ tuned/ && verger predict fruit.jpg --classifier tuned/
    verger features photos/ out/ --weights tuned/model.keras
    verger finetune photos/ tuned/ --model EfficientNetB0 --epochs 20 --overwrite
    verger finetune photos/ tuned/ --size-px 128 --unfreeze 0.2        # faster
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
    with atomic_result(), show_progress(Console(stderr=True, quiet=as_json, markup=False)) as progress:
        result = finetune(photos, local_folder(out), options, progress, overwrite)
    if as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        console.print(tables.finetune_summary(result, photos))
