"""Command-line flags that are made from `Settings`, and the decorator for commands that run a pipeline job."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

import typer
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.logging import RichHandler

from verger.cli import tables
from verger.cli.app import EXIT_REJECTED, app, atomic_result, console, messages
from verger.cli.progress_bar import show_progress
from verger.settings import Settings, load_settings, origins
from verger.storage.manifest import Manifest
from verger.storage.uri import AnyPath, any_path

Job = Callable[..., Manifest]
Command = Callable[..., None]


def setting_flags(
    groups: tuple[str, ...], settings_class: type[BaseSettings] = Settings
) -> list[inspect.Parameter]:
    """Return one flag for each field of a class of settings in `groups`, as parameters that Typer reads.

    `photo_timeout_s` becomes --photo-timeout-s. A boolean field becomes a flag such as --report/--no-report; a
    tuple field becomes a flag that users may repeat. The description and the default of a field become the help
    text, and its group becomes the panel.

    The values of all other flags are texts, which `Settings` validates: so an invalid value gives the same error in
    a flag, an environment variable and verger.toml. All flags are None by default: then the other two are used.
    """
    fields = settings_class.model_fields.items()
    return [_setting_flag(name, field) for name, field in fields if _group(field) in groups]


def take_setting_values(flags: list[inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of `flags` from `values`; return them in the form that `load_settings` accepts."""
    return {flag.name: _join(values.pop(flag.name)) for flag in flags}


def set_signature(command: Command, original: Callable[..., Any], parameters: list[inspect.Parameter]) -> Command:
    """Give `command` the name and docstring of `original`, and the parameters from which Typer makes flags."""
    command.__name__, command.__doc__ = original.__name__, original.__doc__
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return command


def parameters_of(command: Callable[..., Any], *, without: tuple[str, ...] = ()) -> list[inspect.Parameter]:
    """Return the parameters of a function with evaluated annotations, except the parameters named in `without`."""
    return [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in without]


def pipeline_command(groups: tuple[str, ...], panel: str) -> Callable[[Job], Command]:
    """Register a job as a command, with a flag for each setting in `groups`, in the `panel` of `verger --help`.

    The command calls the job with the arguments of the job, `settings` and `progress`. It prints the manifest that
    the job returns, and exits with code 3 if more photos were rejected than --max-rejected allows.
    """

    def decorate(job: Job) -> Command:
        flags = setting_flags(groups)

        def command(*, as_json: bool, show_settings: bool, **values: Any) -> None:
            given = take_setting_values(flags, values)
            settings = load_settings(**given)
            if show_settings:
                console.print(tables.settings_table(settings, origins(**given)))
                return
            _set_up_logging(settings.verbose)
            with atomic_result(), show_progress(Console(stderr=True, quiet=as_json, markup=False)) as progress:
                manifest = job(**values, settings=settings, progress=progress)
            _print_manifest(manifest, any_path(values["out"]), as_json=as_json)
            if manifest.rejected_share > settings.max_rejected:
                raise typer.Exit(EXIT_REJECTED)

        own = parameters_of(job, without=("settings", "progress"))
        set_signature(command, job, [*own, *flags, *_OUTPUT_FLAGS])
        return app.command(rich_help_panel=panel)(command)

    return decorate


def with_setting_flags(
    groups: tuple[str, ...], settings_class: type[BaseSettings] = Settings
) -> Callable[[Command], Command]:
    """Add a flag for each setting in `groups` to a command, which gets the values as the dictionary `given`."""

    def decorate(command: Command) -> Command:
        flags = setting_flags(groups, settings_class)

        def with_flags(**values: Any) -> None:
            given = take_setting_values(flags, values)
            command(**values, given=given)

        return set_signature(with_flags, command, [*parameters_of(command, without=("given",)), *flags])

    return decorate


def with_flag_groups(command: Command) -> Command:
    """Replace each dataclass parameter of a command with one flag for each field of the dataclass."""
    own = parameters_of(command)
    groups: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}

    def with_flags(**values: Any) -> None:
        objects = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **objects)

    flags = [flag for p in own for flag in (parameters_of(groups[p.name]) if p.name in groups else [p])]
    return set_signature(with_flags, command, flags)


def _group(field: Any) -> str:
    return str(field.json_schema_extra["group"])


def _setting_flag(name: str, field: Any) -> inspect.Parameter:
    dashed = name.replace("_", "-")
    is_switch = field.annotation is bool
    names = [f"--{dashed}/--no-{dashed}" if is_switch else f"--{dashed}"] + ["-v"] * (name == "verbose")
    option = typer.Option(*names, help=_help(field), rich_help_panel=_group(field), show_default=False)
    if is_switch:
        return _keyword(name, Annotated[bool | None, option], None)
    if isinstance(field.default, tuple):
        return _keyword(name, Annotated[list[str] | None, option], None)
    return _keyword(name, Annotated[str | None, option], None)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(field: Any) -> str:
    shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "" if shown in (None, "", False, True) else f" [dim]\\[default: {shown}][/dim]"
    return f"{field.description}{default}"


def _join(value: Any) -> Any:
    return (",".join(value) or None) if isinstance(value, list) else value


_OUTPUT_FLAGS = [
    _keyword("as_json", Annotated[bool, typer.Option("--json", help="print only the manifest, as JSON")], False),
    _keyword(
        "show_settings",
        Annotated[
            bool,
            typer.Option("--show-settings", help="print each setting and the origin of its value, and exit"),
        ],
        False,
    ),
]


def _set_up_logging(verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=messages, show_time=verbose, show_path=verbose)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])
    logging.getLogger("py4j").setLevel(logging.WARNING)


def _print_manifest(manifest: Manifest, out: AnyPath, *, as_json: bool) -> None:
    if as_json:
        print(manifest.to_json())
    else:
        console.print(tables.summary(manifest, out))
