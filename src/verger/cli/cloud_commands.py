"""Commands of `verger cloud`: plan, create, use and remove a deployment on a cloud inside the EU."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from verger.cli import deployment_tables
from verger.cli.app import CLUSTERS, EXIT_ERROR, app, console
from verger.cli.confirmation import (
    RunToPrice,
    confirm,
    print_line,
    print_progress,
    show_hourly_cost,
    show_plan,
    suggest_next_step_if_interrupted,
)
from verger.cli.deployment_flags import Name, with_deployment
from verger.cli.flags import with_setting_flags
from verger.cloud.deploy import deployments
from verger.cloud.deploy.command_line import (
    JOB_SETTING_GROUPS,
    files_to_upload,
    job_flags,
    uses_cloud_files,
    with_weights_file,
)
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Provider
from verger.cloud.deploy.targets import installs_package, target_of
from verger.cloud.registry import load_provider
from verger.errors import CloudError
from verger.settings import NETWORK, SETTING_GROUPS, load_settings, origins

commands = typer.Typer(
    help="Run verger on AWS, Google Cloud or Databricks inside the EU, with up, submit, fetch and down.",
    no_args_is_help=True,
)
app.add_typer(commands, name="cloud", rich_help_panel=CLUSTERS)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask for confirmation")]
Photos = Annotated[float | None, typer.Option(help="number of photos to estimate the cost of: 22688 or 1e6")]
MeanKb = Annotated[float | None, typer.Option(help="mean size of these photos in kB")]
Megapixels = Annotated[float | None, typer.Option(help="megapixels of each photo; photos from phones have 12")]
MaxEur = Annotated[
    float | None,
    typer.Option(help="stop if --photos may cost more; without --photos, if --max-hours with all workers may"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print only JSON")]


@commands.command()
@with_deployment
def plan(
    deployment: DeploymentSpec,
    photos: Photos = None,
    mean_kb: MeanKb = None,
    megapixels: Megapixels = None,
    max_eur: MaxEur = None,
) -> None:
    """Show the resources that `up` would create, and their cost. Needs no account and contacts no cloud.

    \b
    verger cloud plan
    verger cloud plan --region eu-west-1 --shape 2..8xm5.xlarge --photos 1e6 --max-eur 10
    verger cloud plan --provider gcp --engine batch
    """
    show_plan(_provider(deployment), deployment, RunToPrice(photos, mean_kb, max_eur, megapixels))


@commands.command()
@with_deployment
def up(
    deployment: DeploymentSpec,
    photos: Photos = None,
    mean_kb: MeanKb = None,
    megapixels: Megapixels = None,
    max_eur: MaxEur = None,
    package: Annotated[
        Path | None, typer.Option(help="result of `verger cloud package` \\[default: build one]")
    ] = None,
    yes: Yes = False,
) -> None:
    """Create or update a deployment, or start a new cluster if the old cluster has ended.

    If the deployment exists, it keeps the values of flags that are not given.

    \b
    verger cloud up                                              # asks for confirmation first
    verger cloud up --shape 4xm5.xlarge --idle-minutes 10 --email me@example.org --yes
    verger cloud up --engine serverless --image ACCOUNT.dkr.ecr.eu-west-3.amazonaws.com/verger:0.1.0
    """
    provider = _provider(deployment)
    deployments.check_same_location(deployment)
    show_plan(provider, deployment, RunToPrice(photos, mean_kb, max_eur, megapixels))
    confirm("create this?", is_confirmed=yes)
    provider.check(deployment)
    with deployments.deployment_lock(deployment.name), suggest_next_step_if_interrupted(deployment.name):
        folder = deployments.save_deployment(deployment)
        provider.up(deployment, package or _build_package(deployment, folder / "package"), print_progress)
    console.print(f"{deployment.name} is up; next: verger cloud submit raw/ results/first", highlight=False)


@commands.command()
@with_setting_flags(JOB_SETTING_GROUPS)
def submit(
    src: Annotated[str, typer.Argument(metavar="SRC", help="photos: a folder of the bucket (raw/), or a URI")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="result: a folder of the bucket (results/NAME)")],
    command: Annotated[
        Literal["run", "features", "pack", "reduce"], typer.Option(help="the command to start")
    ] = "run",
    name: Name = None,
    yes: Yes = False,
    *,
    given: dict[str, Any],
) -> None:
    """Start a job: `verger run` or another --command, with the given flags and the settings in verger.toml.

    \b
    verger cloud submit raw/ results/first
    verger cloud submit raw/ results/first --variance 0.95 --overwrite --yes
    verger cloud submit raw/ packed/all --command pack
    """
    deployment = deployments.load_deployment(name)
    words, files = _command_line(command, given, deployment)
    provider = _provider(deployment)
    print_line(deployment_tables.deployment_line(deployment))
    print_line(" ".join(["verger", command, src, out, *words]))
    show_hourly_cost(deployment)
    confirm("start this?", is_confirmed=yes)
    job = provider.submit(deployment, JobSpec(command, src, out, words, files))
    console.print(f"job {job}; next: verger cloud status, verger cloud logs {job}", highlight=False, soft_wrap=True)


@commands.command()
def status(name: Name = None, as_json: AsJson = False) -> None:
    """Show the jobs, and the machines that are running and cost money now.

    \b
    verger cloud status
    verger cloud status --json
    """
    deployment = deployments.load_deployment(name)
    current = _provider(deployment).status(deployment)
    if as_json:
        print(json.dumps({"deployment": asdict(deployment)} | asdict(current)))
    else:
        console.print(deployment_tables.status_table(deployment, current))


@commands.command()
def logs(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="id that `submit` printed \\[default: the newest job]")
    ] = None,
    name: Name = None,
) -> None:
    """Print the log of a job. On EMR the newest lines are missing, because EMR copies logs every five minutes.

    \b
    verger cloud logs
    verger cloud logs s-2TAFL5CQQWLYN
    """
    deployment = deployments.load_deployment(name)
    provider = _provider(deployment)
    for line in provider.logs(deployment, job or _newest_job(provider, deployment)):
        print(line)


@commands.command()
def fetch(
    out: Annotated[str, typer.Argument(metavar="OUT", help="the OUT of a job")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder on this machine")],
    name: Name = None,
) -> None:
    """Download a result, except files that were downloaded before.

    \b
    verger cloud fetch results/first out/
    """
    deployment = deployments.load_deployment(name)
    _provider(deployment).fetch(deployment, out, folder, print_progress)
    console.print(f"{out} is in {folder}", highlight=False, soft_wrap=True)


@commands.command()
def down(
    name: Name = None,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="keep the bucket and its key")] = False,
    yes: Yes = False,
) -> None:
    """Remove a deployment and all photos and results in its bucket. Exits with 1 if anything is left.

    \b
    verger cloud fetch results/first out/ && verger cloud down
    verger cloud down --keep-data
    """
    if not deployments.has_deployment(name):
        console.print(f"nothing to remove: {deployments.describe_deployments()}")
        return
    deployment = deployments.load_deployment(name)
    provider = _provider(deployment)
    print_line(deployment_tables.deployment_line(deployment))
    data = "but keep its bucket" if keep_data else "with its bucket, and all photos and results in it"
    confirm(f"remove it, {data}?", is_confirmed=yes)
    with deployments.deployment_lock(deployment.name), suggest_next_step_if_interrupted(deployment.name):
        left = provider.down(deployment, print_progress, keep_data=keep_data)
        if left:
            console.print(deployment_tables.leftover_table(left))
            raise CloudError(
                f"the resources above still cost money: repeat `verger cloud down --name {deployment.name}`"
            )
        if not keep_data:
            deployments.delete_deployment(deployment.name)
    kept = " except its bucket and key" * keep_data
    console.print(f"{deployment.name} is removed: nothing that costs money is left{kept}")


@commands.command()
def guard(name: Name = None, as_json: AsJson = False) -> None:
    """Check the region, encryption, access and budget of a deployment. Exits with 1 if a check fails.

    \b
    verger cloud guard
    """
    deployment = deployments.load_deployment(name)
    findings = _provider(deployment).guard(deployment)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        console.print(deployment_tables.finding_table(findings))
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@commands.command("package")
def package_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder to write the package to")],
    python: Annotated[str, typer.Option(help="Python version of the machines")] = "3.11",
    arch: Annotated[Literal["x86_64", "aarch64"], typer.Option(help="processor of the machines")] = "x86_64",
    spark: Annotated[Literal["3.5", "4.0"], typer.Option(help="Spark version of the machines")] = "3.5",
    glibc: Annotated[
        str, typer.Option(help="C library version of the machines: 2.34 on EMR, 2.36 on Dataproc")
    ] = "2.34",
) -> None:
    """Build a package of verger and its dependencies for machines without internet access. `up` does this too.

    \b
    verger cloud package build/package
    verger cloud package build/package --arch aarch64 --glibc 2.36       # Arm machines of Dataproc
    """
    from verger.cloud.deploy.package import Target, build

    build(folder, Target(python, arch, spark, glibc), print_progress)


def _provider(deployment: DeploymentSpec) -> Provider:
    return load_provider(deployment.provider)


def _command_line(
    command: str, given: dict[str, Any], deployment: DeploymentSpec
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the flags of a job, and the files on this machine that the flags name."""
    from verger.pipeline.network_choice import network_spec  # slow to import

    settings, origin_of = load_settings(**given), origins(**given)
    if NETWORK in SETTING_GROUPS[command]:
        if not uses_cloud_files(settings, deployment.provider):
            network_spec(settings)  # reports an unknown model now, not minutes later on the cluster
        settings = with_weights_file(settings)
        origin_of |= {"weights": "flag"} if settings.weights else {}
    flags = job_flags(settings, origin_of, SETTING_GROUPS[command])
    return flags, files_to_upload(settings, deployment.provider)


def _build_package(deployment: DeploymentSpec, folder: Path) -> Path:
    """Build the package in `folder` if the deployment's machines install one; return `folder`."""
    from verger.cloud.deploy.package import build

    if installs_package(deployment):
        build(folder, target_of(deployment), print_progress)
    return folder


def _newest_job(provider: Provider, deployment: DeploymentSpec) -> str:
    jobs = provider.status(deployment).jobs
    if not jobs:
        raise CloudError("there are no jobs yet: start one with `verger cloud submit`")
    return jobs[0].id
