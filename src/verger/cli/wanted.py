"""The flags that describe a deployment, which several commands of `verger cloud` take."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

import typer

from verger.cloud.deploy.deployments import check_name, has_deployment, load_deployment
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.targets import check_engine, check_processor, provider_info
from verger.cloud.pricing.shapes import parse_shape, shape_text
from verger.cloud.regions import DEFAULT_REGIONS, check_region
from verger.errors import SettingsError

Name = Annotated[str | None, typer.Option(help="of the deployment; the only one by default")]


def _address(provider: str, workspace: str | None) -> str | None:
    """Return the address of a workspace, to be remembered: the environment may name another one tomorrow."""
    told = workspace or (os.environ.get("DATABRICKS_HOST") if provider == "databricks" else None)
    return told.rstrip("/") if told else None


def wanted_deployment(
    provider: Annotated[str, typer.Option(help="aws, gcp or databricks")] = "aws",
    region: Annotated[str | None, typer.Option(help="in the EU; Paris by default")] = None,
    engine: Annotated[
        str | None, typer.Option(help="emr or serverless (aws), dataproc or batch (gcp), job (databricks)")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="workers: 4xm5.xlarge, or 2..8xm5.xlarge where there may be more")
    ] = None,
    primary: Annotated[str | None, typer.Option(help="the machine that leads; as the workers by default")] = None,
    spot: Annotated[bool, typer.Option(help="added workers are spot machines, cheaper and taken back")] = True,
    idle_minutes: Annotated[int, typer.Option(help="without work for so long, the machines end")] = 15,
    max_hours: Annotated[int, typer.Option(help="a job is ended after so long (emr: an alarm)")] = 4,
    budget_eur: Annotated[float, typer.Option(help="a month; alerts at 50, 90 and 100 % of it")] = 10.0,
    email: Annotated[str | None, typer.Option(help="who gets the alerts; nobody by default, and for ''")] = None,
    name: Annotated[str, typer.Option(help="begins the name of everything that is made")] = "verger",
    notebook: Annotated[
        bool, typer.Option("--notebook/--no-notebook", help="JupyterHub on the cluster too (emr)")
    ] = False,
    image: Annotated[str | None, typer.Option(help="of the workers, with verger in it (serverless)")] = None,
    project: Annotated[str | None, typer.Option(help="of Google's cloud (gcp)")] = None,
    workspace: Annotated[
        str | None, typer.Option(help="its address; DATABRICKS_HOST by default (databricks)")
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(help="for the volume; the workspace's by default (databricks)")
    ] = None,
) -> DeploymentSpec:
    """Return what the flags describe. The region is looked at first: nothing outside the EU goes any further."""
    cloud = provider_info(provider)
    checked = check_region(provider, region or DEFAULT_REGIONS[provider])
    for key, value in (("idle_minutes", idle_minutes), ("max_hours", max_hours), ("budget_eur", budget_eur)):
        if value <= 0:
            raise SettingsError(key, value, "more than 0")
    machines = parse_shape(shape or cloud.shape, primary, spot=spot)
    for machine in (machines.machine, machines.primary):
        check_processor(provider, machine)
    checked_engine = check_engine(provider, engine)
    if image is not None and checked_engine != "serverless":
        raise SettingsError("image", image, f"none with the engine {checked_engine}: serverless alone has one")
    return DeploymentSpec(
        name=check_name(name),
        provider=provider,
        region=checked,
        engine=checked_engine,
        shape=machines,
        email=email or None,
        budget_eur=budget_eur,
        idle_minutes=idle_minutes,
        max_hours=max_hours,
        project=project,
        workspace=_address(provider, workspace),
        catalog=catalog,
        notebook=notebook,
        image=image,
    )


def with_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that describe a deployment; it gets what they describe as `wanted`.

    Flags that are not given have the values of the deployment of this name, where there is one.
    """
    flags = list(inspect.signature(wanted_deployment, eval_str=True).parameters.values())
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "wanted"]

    def with_flags(context: typer.Context, **values: Any) -> None:
        said = {flag.name: values.pop(flag.name) for flag in flags}
        given = {name for name in said if _is_given(context, name)}
        command(wanted=wanted_deployment(**said | _remembered(said, given)), **values)

    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *flags]]
    with_flags.__signature__ = inspect.Signature([context, *keywords])  # type: ignore[attr-defined]
    return with_flags


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"  # the type has another home in each version of typer


def _remembered(said: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the flags that would describe the deployment of this name as it is, less those that are given."""
    if not has_deployment(said["name"]):
        return {}
    known = load_deployment(said["name"])
    if any(name in given and said[name] != getattr(known, name) for name in ("provider", "region")):
        return {}  # nothing of the one elsewhere holds here
    shape = known.shape
    is_led_by_another = shape.primary != shape.machine
    flags = {name: getattr(known, name) for name in said if hasattr(known, name)} | {
        "shape": shape_text(shape),
        "primary": shape.primary if is_led_by_another or "shape" not in given else None,
        "spot": shape.spot,
    }
    if "engine" in given and said["engine"] != known.engine:
        del flags["image"]
    return {name: value for name, value in flags.items() if name not in given}
