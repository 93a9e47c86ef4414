"""The command line: parses, calls one function, prints. No logic."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.logging import RichHandler

from verger import __version__, tables
from verger.console import watching
from verger.errors import SettingsError, VergerError
from verger.manifest import Manifest
from verger.progress import Progress
from verger.settings import (
    EXPORT,
    NETWORK,
    PHOTOS,
    REDUCTION,
    RESULT,
    SPARK,
    Settings,
    load_settings,
    origins,
)
from verger.uri import local_folder

EXIT_ERROR, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    help="From a folder of fruit photos to CNN features and PCA components, on Spark.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

console = Console()
messages = Console(stderr=True)

Source = Annotated[str, typer.Argument(metavar="SRC", help="a folder, a file: URI, or a glob in quotes")]
Features = Annotated[str, typer.Argument(metavar="FEATURES", help="a result, or its features folder")]
Result = Annotated[str, typer.Argument(metavar="OUT", help="the folder of the result")]
Trained = Annotated[str | None, typer.Option(help="a result of `verger train`; the bundled one by default")]
Update = Annotated[str | None, typer.Option(help="fold in with this earlier result's PCA state")]
Job = Callable[..., Manifest]

# Commands that change nothing where they do not end.
_WHOLE_OR_NOTHING = ("run", "features", "reduce", "train", "evaluate", "finetune")

_EXTRA_FLAGS = {
    "as_json": Annotated[bool, typer.Option("--json", help="print the manifest as JSON, and nothing else")],
    "show_settings": Annotated[
        bool, typer.Option("--show-settings", help="print each setting and where it is from; run nothing")
    ],
}


def _chain_command(*groups: str) -> Callable[[Job], Callable[..., None]]:
    """Make a job a command that has a flag for each setting of these groups, and prints its manifest.

    The job gets the positional arguments it names, `settings` and `watch`.
    """

    def decorate(job: Job) -> Callable[..., None]:
        own = [p for p in inspect.signature(job, eval_str=True).parameters.values() if p.name not in _GIVEN]
        flags = [_flag(name) for name, field in Settings.model_fields.items() if _group(field) in groups]
        extra = [_keyword(name, kind, False) for name, kind in _EXTRA_FLAGS.items()]

        def command(*, as_json: bool, show_settings: bool, **values: Any) -> None:
            given = {flag.name: _joined(values.pop(flag.name)) for flag in flags}
            settings = load_settings(**given)
            if show_settings:
                console.print(tables.settings_table(settings, origins(**given)))
                return
            _set_up_logging(settings.verbose)
            with watching(Console(stderr=True, quiet=as_json)) as watch:
                manifest = job(**values, settings=settings, watch=watch)
            _tell(manifest, Path(local_folder(values["out"])), as_json=as_json)
            if manifest.rejected_share > settings.max_rejected:
                raise typer.Exit(EXIT_REJECTED)

        command.__name__, command.__doc__ = job.__name__, job.__doc__
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        command.__signature__ = inspect.Signature([*keywords, *flags, *extra])  # type: ignore[attr-defined]
        return app.command()(command)

    return decorate


_GIVEN = ("settings", "watch")


def _group(field: Any) -> str:
    return str(field.json_schema_extra["group"])


def _keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _flag(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    dashed = name.replace("_", "-")
    is_switch = field.annotation is bool
    names = [f"--{dashed}/--no-{dashed}" if is_switch else f"--{dashed}"] + ["-v"] * (name == "verbose")
    option = typer.Option(*names, help=_told(field), rich_help_panel=_group(field), show_default=False)
    if is_switch:
        return _keyword(name, Annotated[bool | None, option], None)
    if isinstance(field.default, tuple):  # may be given more than once
        return _keyword(name, Annotated[list[str] | None, option], None)
    return _keyword(name, Annotated[str | None, option], None)


def _joined(value: Any) -> Any:
    return (",".join(value) or None) if isinstance(value, list) else value


def _told(field: Any) -> str:
    shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "" if shown in (None, "", False, True) else f" [dim]\\[{shown}][/dim]"
    return f"{field.description}{default}"


@_chain_command(PHOTOS, NETWORK, REDUCTION, EXPORT, RESULT, SPARK)
def run(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """The whole chain: photos -> features -> components, and a report.

    \b
    verger run photos/ out/
    verger run photos/ out/ --limit 200                    # try a part first
    verger run photos/ out/ --model VGG16 --pooling max --variance 0.95
    verger run photos/ out/ --overwrite --export csv,json --single-file
    VERGER_WEIGHTS=random:0 verger run 'photos/*/good' out/
    """
    from verger import pipeline

    return pipeline.run(src, local_folder(out), settings, watch)


@_chain_command(PHOTOS, NETWORK, EXPORT, RESULT, SPARK)
def features(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """The first half alone: photos -> features.

    \b
    verger features photos/ out/
    verger features photos/ out/ --label 'regex:/([a-z]+)_[0-9]+[.]jpg$'
    verger features photos/ out/ --weights my-model.keras --preprocessing tf
    """
    from verger import pipeline

    return pipeline.features(src, local_folder(out), settings, watch)


@_chain_command(REDUCTION, EXPORT, RESULT, SPARK)
def reduce(features: Features, out: Result, settings: Settings, watch: Progress, update: Update = None) -> Manifest:
    """The second half alone: features -> components.

    \b
    verger reduce out/ reduced/ --components 50
    verger reduce new/ updated/ --update out/      # the old features are not needed
    """
    from verger import pipeline

    state = local_folder(update) if update else None
    return pipeline.reduce(local_folder(features), local_folder(out), settings, watch, state)


@_chain_command(RESULT, SPARK)
def train(
    features: Features,
    out: Result,
    settings: Settings,
    watch: Progress,
    on: Annotated[Literal["features", "components"], typer.Option(help="what to train on")] = "features",
    group: Annotated[str, typer.Option(help="photos never split over folds: film, none or regex:PATTERN")] = "film",
    folds: Annotated[int, typer.Option(help="of the cross-validation")] = 5,
    regularisation: Annotated[str, typer.Option(help="strengths to choose from")] = "0.0003,0.003,0.03",
    accuracy: Annotated[float, typer.Option(help='of the answers given; below it says "not sure"')] = 0.95,
) -> Manifest:
    """Train a classifier on labelled features: logistic regression, cross-validated, calibrated.

    \b
    verger features photos/ out/ && verger train out/ classifier/
    verger train out/ classifier/ --on components --folds 3
    verger train out/ classifier/ --group 'regex:/([^/]+)_[0-9]+[.]jpg$'   # pictures of one series stay together
    """
    from verger.classify.run import train_result

    options = {
        "on": on,
        "group": group,
        "n_folds": folds,
        "regularisations": regularisation,
        "accuracy": accuracy,
    }
    return train_result(local_folder(features), local_folder(out), settings, watch, options)


@_chain_command(RESULT)
def evaluate(
    features: Features, out: Result, settings: Settings, watch: Progress, classifier: Trained = None
) -> Manifest:
    """How good a classifier is on labelled features it has not seen: figures, and a report.

    \b
    verger evaluate out/ judged/                             # the classifier that ships with verger
    verger evaluate other/ judged/ --classifier classifier/
    """
    from verger.classify.run import evaluate_result

    path = local_folder(classifier) if classifier else None
    return evaluate_result(path, local_folder(features), local_folder(out), settings, watch)


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="photo files")],
    classifier: Trained = None,
    top: Annotated[int, typer.Option(min=1, help="so many names for each photo")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a photo, and nothing else")] = False,
) -> None:
    """Name the fruit in photos.

    \b
    verger predict fruit.jpg
    verger predict photos/*.jpg --top 5
    verger predict fruit.jpg --classifier classifier/ --json
    """
    from verger.classify.model import load_classifier
    from verger.classify.predict import predict

    chosen = load_classifier(local_folder(classifier) if classifier else None)
    named = list(predict(photos, chosen, top=top))
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
    verger finetune photos/ tuned/ && verger features photos/ out/ --weights tuned/model.keras
    verger finetune photos/ tuned/ --model EfficientNetB0 --epochs 20 --overwrite
    verger finetune photos/ tuned/ --size-px 128 --unfreeze 0.2        # quicker
    """
    from verger.finetune.options import FinetuneOptions
    from verger.finetune.run import finetune

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
        result = finetune(photos, Path(local_folder(out)), options, watch, overwrite)
    if as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        console.print(tables.finetune_summary(result, photos))


@app.command()
def models() -> None:
    """The networks verger knows by name."""
    console.print(tables.models_table())


@app.command()
def sample(
    out: Result,
    per_kind: Annotated[int, typer.Option(help="photos of each of the ten kinds")] = 40,
    seed: Annotated[int, typer.Option(help="other fruit, other seed")] = 0,
) -> None:
    """Render labelled fruit-like photos to try the chain on. They are synthetic.

    \b
    verger sample photos/ && verger run photos/ out/
    """
    from verger.sample import SampleOptions, render_sample

    n_photos = render_sample(local_folder(out), SampleOptions(per_kind=per_kind, seed=seed))
    console.print(f"{n_photos} synthetic photos in {local_folder(out)}; next: verger run {out} OUT")


@app.command("warm-up")
def warm_up() -> None:
    """Make later starts faster: archive Spark's classes, convert the default network. Takes a minute, once."""
    from verger.warmup import warm_up

    with watching(messages) as watch:
        archive = warm_up(watch)
    if archive is None:
        console.print("the network is ready; this Java writes no archive of classes, so Spark starts as before")
    else:
        console.print(f"Spark's classes are archived in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")


@app.command()
def doctor() -> None:
    """Look at what verger needs of this machine, and how to mend what is missing."""
    from verger.doctor import examine

    findings = examine()
    console.print(tables.doctor_table(findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def version() -> None:
    """The version."""
    console.print(__version__)


def _set_up_logging(verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=messages)])
    logging.getLogger("py4j").setLevel(logging.WARNING)


def _tell(manifest: Manifest, out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(manifest), default=str))
    else:
        console.print(tables.summary(manifest, out))


def main() -> None:
    """Run the command line: errors raised on purpose become one line, Ctrl-C (and kill) exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except SettingsError as error:
        _complain(error)
        sys.exit(EXIT_USAGE)
    except VergerError as error:
        _complain(error)
        sys.exit(EXIT_ERROR)
    except SystemExit as ending:  # typer has made one of Ctrl-C
        if ending.code == EXIT_INTERRUPTED:
            is_whole_or_nothing = sys.argv[1:2] and sys.argv[1] in _WHOLE_OR_NOTHING
            messages.print(f"interrupted{': nothing was changed' * bool(is_whole_or_nothing)}", style="yellow")
        raise
    except BrokenPipeError:  # `verger models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that may not be written
        _complain(error)
        sys.exit(EXIT_ERROR)


def _complain(error: Exception) -> None:
    messages.print("[bold red]error:[/bold red]", end=" ")
    messages.print(str(error), markup=False, highlight=False, soft_wrap=True)
