"""The flags of `verger cloud plan` and `up` that describe a deployment."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

import typer

from verger.cli.flags import parameters_of, set_signature
from verger.cloud.deploy.deployments import check_name, has_deployment, load_deployment
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.targets import check_engine, check_processor, provider_info
from verger.cloud.pricing.shapes import parse_shape, shape_text
from verger.cloud.regions import DEFAULT_REGIONS, check_region
from verger.errors import SettingsError

Name = Annotated[str | None, typer.Option(help="name of the deployment \\[default: the only one]")]


def make_deployment(
    provider: Annotated[str, typer.Option(help="aws, gcp or databricks")] = "aws",
    region: Annotated[str | None, typer.Option(help="a region in the EU \\[default: Paris]")] = None,
    engine: Annotated[
        str | None, typer.Option(help="emr or serverless (aws), dataproc or batch (gcp), job (databricks)")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="workers: 4xm5.xlarge, or 2..8xm5.xlarge to add workers under load")
    ] = None,
    primary: Annotated[
        str | None, typer.Option(help="machine type of the primary node \\[default: the workers' type]")
    ] = None,
    spot: Annotated[
        bool, typer.Option(help="added workers are spot machines: cheaper, but the cloud may reclaim them")
    ] = True,
    idle_minutes: Annotated[int, typer.Option(help="minutes without work after which the machines end")] = 15,
    max_hours: Annotated[int, typer.Option(help="hours after which a job is stopped (emr: only an alarm)")] = 4,
    budget_eur: Annotated[float, typer.Option(help="monthly budget; alerts at 50, 90 and 100 %")] = 10.0,
    email: Annotated[str | None, typer.Option(help="address for alerts; '' removes it")] = None,
    name: Annotated[
        str, typer.Option(help="name of the deployment, with which all resource names begin")
    ] = "verger",
    notebook: Annotated[
        bool, typer.Option("--notebook/--no-notebook", help="whether to install JupyterHub on the cluster (emr)")
    ] = False,
    image: Annotated[
        str | None, typer.Option(help="container image with verger for the workers (serverless)")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Google Cloud project (gcp)")] = None,
    workspace: Annotated[
        str | None, typer.Option(help="workspace address \\[default: DATABRICKS_HOST] (databricks)")
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(help="catalog of the volume \\[default: the workspace's] (databricks)")
    ] = None,
) -> DeploymentSpec:
    """Return the deployment that the flags describe. Raises SettingsError or CloudError for an invalid value."""
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
        raise SettingsError("image", image, f"no image: engine {checked_engine} uses none, only serverless does")
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
        workspace=_workspace_address(provider, workspace),
        catalog=catalog,
        notebook=notebook,
        image=image,
    )


def with_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `deployment` of a command by the flags of `make_deployment`.

    If a deployment with the given name exists, it keeps the values of all flags that are not given.
    """
    flags = parameters_of(make_deployment)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    def with_flags(context: typer.Context, **arguments: Any) -> None:
        values = {flag.name: arguments.pop(flag.name) for flag in flags}
        given = {name for name in values if _is_given(context, name)}
        command(deployment=make_deployment(**values | _values_to_keep(values, given)), **arguments)

    return set_signature(with_flags, command, [context, *parameters_of(command, without=("deployment",)), *flags])


def _workspace_address(provider: str, workspace: str | None) -> str | None:
    """Return the address of the workspace. The deployment saves it, because DATABRICKS_HOST may change later."""
    address = workspace or (os.environ.get("DATABRICKS_HOST") if provider == "databricks" else None)
    return address.rstrip("/") if address else None


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"  # the enum's module depends on the version of Typer


def _values_to_keep(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the values that the existing deployment has for the flags that are not in `given`."""
    if not has_deployment(values["name"]):
        return {}
    existing = load_deployment(values["name"])
    if any(name in given and values[name] != getattr(existing, name) for name in ("provider", "region")):
        return {}  # the existing deployment is in another cloud or region, so its values do not apply
    shape = existing.shape
    has_own_primary = shape.primary != shape.machine
    kept = {name: getattr(existing, name) for name in values if hasattr(existing, name)} | {
        "shape": shape_text(shape),
        "primary": shape.primary if has_own_primary or "shape" not in given else None,
        "spot": shape.spot,
    }
    if "engine" in given and values["engine"] != existing.engine:
        del kept["image"]
    return {name: value for name, value in kept.items() if name not in given}
