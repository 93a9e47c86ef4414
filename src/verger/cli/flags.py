"""Commands that run a part of the chain: a flag for every setting, made of the settings themselves."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from verger.cli import tables
from verger.cli.app import EXIT_REJECTED, app, console, messages
from verger.cli.progress_bar import watching
from verger.settings import Settings, load_settings, origins
from verger.storage.manifest import Manifest
from verger.storage.uri import AnyPath, any_path

Job = Callable[..., Manifest]

_EXTRA_FLAGS = {
    "as_json": Annotated[bool, typer.Option("--json", help="print the manifest as JSON, and nothing else")],
    "show_settings": Annotated[
        bool, typer.Option("--show-settings", help="print each setting and where it is from; run nothing")
    ],
}


# The groups of settings that each command takes.
GROUPS: dict[str, tuple[str, ...]] = {}


def chain_command(*groups: str) -> Callable[[Job], Callable[..., None]]:
    """Make a job a command that has a flag for each setting of these groups, and prints its manifest.

    The job gets the positional arguments it names, `settings` and `watch`.
    """

    def decorate(job: Job) -> Callable[..., None]:
        own = [p for p in inspect.signature(job, eval_str=True).parameters.values() if p.name not in _HANDED_OVER]
        flags = _flags(groups)
        GROUPS[job.__name__] = groups
        extra = [_keyword(name, kind, False) for name, kind in _EXTRA_FLAGS.items()]

        def command(*, as_json: bool, show_settings: bool, **values: Any) -> None:
            given = _given(flags, values)
            settings = load_settings(**given)
            if show_settings:
                console.print(tables.settings_table(settings, origins(**given)))
                return
            _set_up_logging(settings.verbose)
            with watching(Console(stderr=True, quiet=as_json)) as watch:
                manifest = job(**values, settings=settings, watch=watch)
            _tell(manifest, any_path(values["out"]), as_json=as_json)
            if manifest.rejected_share > settings.max_rejected:
                raise typer.Exit(EXIT_REJECTED)

        command.__name__, command.__doc__ = job.__name__, job.__doc__
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        command.__signature__ = inspect.Signature([*keywords, *flags, *extra])  # type: ignore[attr-defined]
        return app.command()(command)

    return decorate


_HANDED_OVER = ("settings", "watch")


def with_settings(*groups: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each setting of these groups; it gets them as `given`, None for one not given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
        flags = _flags(groups)

        def with_flags(**values: Any) -> None:
            given = _given(flags, values)
            command(**values, given=given)

        with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        with_flags.__signature__ = inspect.Signature([*keywords, *flags])  # type: ignore[attr-defined]
        return with_flags

    return decorate


def _flags(groups: tuple[str, ...]) -> list[inspect.Parameter]:
    return [_flag(name) for name, field in Settings.model_fields.items() if _group(field) in groups]


def _given(flags: list[inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """Take what the flags were given out of `values`."""
    return {flag.name: _joined(values.pop(flag.name)) for flag in flags}


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


def _set_up_logging(verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=messages)])
    logging.getLogger("py4j").setLevel(logging.WARNING)


def _tell(manifest: Manifest, out: AnyPath, *, as_json: bool) -> None:
    if as_json:
        print(manifest.to_json())
    else:
        console.print(tables.summary(manifest, out))
