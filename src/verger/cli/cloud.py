"""The chain on a cloud inside the EU: planned and priced, made, used, taken down."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from verger.cli import deployment_tables
from verger.cli.app import EXIT_ERROR, app, console
from verger.cli.consent import Asked, ask, say, show_plan, tell, tell_hourly, telling_what_to_do_next
from verger.cli.flags import GROUPS, with_settings
from verger.cli.wanted import Name, with_deployment
from verger.cloud.deploy import deployments
from verger.cloud.deploy.command_line import files_to_upload, job_flags, uses_cloud_files, with_weights_file
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Provider
from verger.cloud.deploy.targets import installs_package, target_of
from verger.cloud.registry import load_provider
from verger.errors import CloudError
from verger.settings import EXPORT, NETWORK, PHOTOS, REDUCTION, RESULT, RESUME, load_settings, origins

commands = typer.Typer(help="AWS, Google Cloud and Databricks inside the EU: up, run, down.", no_args_is_help=True)
app.add_typer(commands, name="cloud")

Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Photos = Annotated[float | None, typer.Option(help="how many there will be, 1e6 say: what a run of them costs")]
MeanKb = Annotated[float | None, typer.Option(help="mean size of these photos in kB")]
Megapixels = Annotated[float | None, typer.Option(help="of a photo: a phone's has 12")]
MaxEur = Annotated[
    float | None, typer.Option(help="refuse more: the run of --photos, or --max-hours of all workers")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, and nothing else")]

# Of Spark itself the cluster knows more.
OF_JOBS = (PHOTOS, NETWORK, REDUCTION, EXPORT, RESULT, RESUME)


@commands.command()
@with_deployment
def plan(
    wanted: DeploymentSpec,
    photos: Photos = None,
    mean_kb: MeanKb = None,
    megapixels: Megapixels = None,
    max_eur: MaxEur = None,
) -> None:
    """What would exist, where, and what it costs. Asks no cloud for anything, and needs no account.

    \b
    verger cloud plan
    verger cloud plan --region eu-west-1 --shape 2..8xm5.xlarge --photos 1e6 --max-eur 10
    verger cloud plan --provider gcp --engine batch
    """
    show_plan(_provider(wanted), wanted, Asked(photos, mean_kb, max_eur, megapixels))


@commands.command()
@with_deployment
def up(
    wanted: DeploymentSpec,
    photos: Photos = None,
    mean_kb: MeanKb = None,
    megapixels: Megapixels = None,
    max_eur: MaxEur = None,
    package: Annotated[Path | None, typer.Option(help="of `verger cloud package`; built anew by default")] = None,
    yes: Yes = False,
) -> None:
    """Make a deployment, bring one to what is wanted, or start its ended cluster anew.

    Where there is one of this name, flags that are not given stay as they were.

    \b
    verger cloud up                                              # asks before it makes anything
    verger cloud up --shape 4xm5.xlarge --idle-minutes 10 --email me@example.org --yes
    verger cloud up --engine serverless --image ACCOUNT.dkr.ecr.eu-west-3.amazonaws.com/verger:0.1.0
    """
    provider = _provider(wanted)
    _check_same_place(wanted)
    show_plan(provider, wanted, Asked(photos, mean_kb, max_eur, megapixels))
    ask("make this?", is_agreed=yes)
    provider.check(wanted)
    with deployments.deployment_lock(wanted.name), telling_what_to_do_next(wanted.name):
        folder = deployments.save_deployment(wanted)
        provider.up(wanted, package or _packed(wanted, folder / "package"), say)
    console.print(f"{wanted.name} is up; next: verger cloud submit raw/ results/first", highlight=False)


@commands.command()
@with_settings(*OF_JOBS)
def submit(
    src: Annotated[str, typer.Argument(metavar="SRC", help="a folder of its bucket (raw/), or a URI")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="a folder of its bucket: results/NAME")],
    command: Annotated[
        Literal["run", "features", "pack", "reduce"], typer.Option(help="which part of the chain")
    ] = "run",
    name: Name = None,
    yes: Yes = False,
    *,
    given: dict[str, Any],
) -> None:
    """Start a job, with the flags of `verger run` (or of --command); settings of verger.toml go along.

    \b
    verger cloud submit raw/ results/first
    verger cloud submit raw/ results/first --variance 0.95 --overwrite --yes
    verger cloud submit raw/ packed/all --command pack
    """
    from verger.pipeline.network_choice import network_spec  # it imports what no other command of these needs

    here = deployments.load_deployment(name)
    settings, told_by = load_settings(**given), origins(**given)
    if NETWORK in GROUPS[command]:
        if not uses_cloud_files(settings, here.provider):
            network_spec(settings)  # a name that is not known is better refused here
        settings = with_weights_file(settings)
        told_by |= {"weights": "flag"} if settings.weights else {}
    words, files = job_flags(settings, told_by, GROUPS[command]), files_to_upload(settings, here.provider)
    provider = _provider(here)
    tell(deployment_tables.deployment_line(here))
    tell(" ".join(["verger", command, src, out, *words]))
    tell_hourly(here)
    ask("start this?", is_agreed=yes)
    job = provider.submit(here, JobSpec(command, src, out, words, files))
    console.print(f"job {job}; next: verger cloud status, verger cloud logs {job}", highlight=False, soft_wrap=True)


@commands.command()
def status(name: Name = None, as_json: AsJson = False) -> None:
    """What runs and costs now, and the jobs.

    \b
    verger cloud status
    verger cloud status --json
    """
    here = deployments.load_deployment(name)
    found = _provider(here).status(here)
    if as_json:
        print(json.dumps({"deployment": asdict(here)} | asdict(found)))
    else:
        console.print(deployment_tables.status_table(here, found))


@commands.command()
def logs(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="of `submit`; the newest by default")] = None,
    name: Name = None,
) -> None:
    """The lines that a job has written. They come minutes late: EMR copies them every five.

    \b
    verger cloud logs
    verger cloud logs s-2TAFL5CQQWLYN
    """
    here = deployments.load_deployment(name)
    provider = _provider(here)
    for line in provider.logs(here, job or _newest(provider, here)):
        print(line)


@commands.command()
def fetch(
    out: Annotated[str, typer.Argument(metavar="OUT", help="the OUT of a job")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a folder here")],
    name: Name = None,
) -> None:
    """Copy a result here, less the files that are here already.

    \b
    verger cloud fetch results/first out/
    """
    here = deployments.load_deployment(name)
    _provider(here).fetch(here, out, folder, say)
    console.print(f"{out} is in {folder}", highlight=False, soft_wrap=True)


@commands.command()
def down(
    name: Name = None,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="leave the bucket and its key")] = False,
    yes: Yes = False,
) -> None:
    """Remove everything, the photos in the bucket too, and look whether something is left. Exit code 1 if so.

    \b
    verger cloud fetch results/first out/ && verger cloud down
    verger cloud down --keep-data
    """
    if not deployments.has_deployment(name):
        console.print(f"nothing to remove: {deployments.describe_deployments()}")
        return
    here = deployments.load_deployment(name)
    provider = _provider(here)
    tell(deployment_tables.deployment_line(here))
    kept = "but its bucket" if keep_data else "with its bucket, and all photos and results in it"
    ask(f"remove it, {kept}?", is_agreed=yes)
    with deployments.deployment_lock(here.name), telling_what_to_do_next(here.name):
        left = provider.down(here, say, keep_data=keep_data)
        if left:
            console.print(deployment_tables.leftover_table(left))
            raise CloudError(
                f"this still costs: `verger cloud down --name {here.name}` tries again, and looks again"
            )
        if not keep_data:
            deployments.delete_deployment(here.name)
    console.print(f"{here.name} is gone: nothing that costs is left{', but its bucket and key' * keep_data}")


@commands.command()
def guard(name: Name = None, as_json: AsJson = False) -> None:
    """Whether what exists is as it should be: region, encryption, access, budget. Exit code 1 if not.

    \b
    verger cloud guard
    """
    here = deployments.load_deployment(name)
    found = _provider(here).guard(here)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found]))
    else:
        console.print(deployment_tables.finding_table(found))
    if not all(finding.is_ok for finding in found):
        raise typer.Exit(EXIT_ERROR)


@commands.command("package")
def package_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where it is written")],
    python: Annotated[str, typer.Option(help="of the machines")] = "3.11",
    arch: Annotated[Literal["x86_64", "aarch64"], typer.Option(help="their processor")] = "x86_64",
    spark: Annotated[Literal["3.5", "4.0"], typer.Option(help="their Spark")] = "3.5",
    glibc: Annotated[str, typer.Option(help="their C library: 2.34 on EMR, 2.36 on Dataproc")] = "2.34",
) -> None:
    """Verger and what it needs, for machines without a way to the internet. `up` does so itself.

    \b
    verger cloud package build/package
    verger cloud package build/package --arch aarch64 --glibc 2.36       # Arm machines of Dataproc
    """
    from verger.cloud.deploy.package import Target, build

    build(folder, Target(python, arch, spark, glibc), say)


def _provider(here: DeploymentSpec) -> Provider:
    return load_provider(here.provider)


def _check_same_place(wanted: DeploymentSpec) -> None:
    """Raise CloudError where a deployment of this name lies elsewhere: what exists there would be forgotten."""
    if not deployments.has_deployment(wanted.name):
        return
    known = deployments.load_deployment(wanted.name)
    if _place_of(known) != _place_of(wanted):
        place = " ".join(f"--{flag} {value}" for flag, value in _place_of(known).items() if value)
        raise CloudError(
            f"{wanted.name!r} is a deployment already, elsewhere ({place}): give this one another --name, or "
            f"first: verger cloud down --name {wanted.name}"
        )


def _place_of(here: DeploymentSpec) -> dict[str, str | None]:
    return {flag: getattr(here, flag) for flag in ("provider", "region", "project", "workspace", "catalog")}


def _packed(wanted: DeploymentSpec, folder: Path) -> Path:
    """Return where the package for a deployment's machines is; one that is there already is only looked over."""
    from verger.cloud.deploy.package import build

    if installs_package(wanted):
        build(folder, target_of(wanted), say)
    return folder


def _newest(provider: Provider, here: DeploymentSpec) -> str:
    jobs = provider.status(here).jobs
    if not jobs:
        raise CloudError("there are no jobs yet: verger cloud submit")
    return jobs[0].id
