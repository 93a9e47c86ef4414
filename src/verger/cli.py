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
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from verger import __version__, tables
from verger.console import watching
from verger.errors import SettingsError, VergerError
from verger.manifest import Manifest
from verger.progress import Progress
from verger.settings import NETWORK, OUTPUT, PHOTOS, REDUCTION, SPARK, Settings, load_settings, origins
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
Update = Annotated[str | None, typer.Option(help="fold in with this earlier result's PCA state")]
Job = Callable[..., Manifest]

# Commands that change nothing where they do not end.
_WHOLE_OR_NOTHING = ("run", "features", "reduce")

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


@_chain_command(PHOTOS, NETWORK, REDUCTION, OUTPUT, SPARK)
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


@_chain_command(PHOTOS, NETWORK, OUTPUT, SPARK)
def features(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """The first half alone: photos -> features.

    \b
    verger features photos/ out/
    verger features photos/ out/ --label 'regex:/([a-z]+)_[0-9]+[.]jpg$'
    verger features photos/ out/ --weights my-model.keras --preprocessing tf
    """
    from verger import pipeline

    return pipeline.features(src, local_folder(out), settings, watch)


@_chain_command(REDUCTION, OUTPUT, SPARK)
def reduce(features: Features, out: Result, settings: Settings, watch: Progress, update: Update = None) -> Manifest:
    """The second half alone: features -> components.

    \b
    verger reduce out/ reduced/ --components 50
    verger reduce new/ updated/ --update out/      # the old features are not needed
    """
    from verger import pipeline

    state = local_folder(update) if update else None
    return pipeline.reduce(local_folder(features), local_folder(out), settings, watch, state)


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
