"""AWS: a bucket, a private network, and EMR on EC2 or EMR Serverless.

`stack` is what Terraform makes (infra/aws); `emr` and `serverless` run jobs there, `places` says where these read
and write, `guard` looks at what exists, `leftovers` at what should not. boto3 does the asking (`clients`).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from verger.cloud.aws import emr, serverless
from verger.cloud.aws.bucket import carry, resolve, resolve_out, store_in
from verger.cloud.aws.clients import check_credentials
from verger.cloud.aws.guard import guard
from verger.cloud.aws.leftovers import find_leftovers
from verger.cloud.aws.resources import planned_resources
from verger.cloud.aws.stack import (
    change,
    changing_machines,
    has_other_machines,
    important_lines,
    prepare,
    read_outputs,
    read_stack,
)
from verger.cloud.deploy.command_line import replace_files
from verger.cloud.deploy.provider import (
    DeploymentSpec,
    DeploymentStatus,
    GuardFinding,
    JobSpec,
    Leftover,
    PlannedResource,
    Say,
)
from verger.cloud.deploy.terraform import find_program, terraform_of
from verger.cloud.deploy.transfer import fetch_tree
from verger.cloud.pricing.estimate import eur_a_month_until_down
from verger.cloud.pricing.prices import load_prices
from verger.errors import CloudError, StorageError
from verger.storage.objects import object_path

_BUCKET = "aws_s3_bucket.data"

_NO_LOGS = (
    "there are no lines of {job} yet: EMR copies them to the bucket every five minutes, and once more at the end; "
    "`verger cloud status` knows more"
)


class Aws:
    """See `provider.Provider`."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return what Terraform would make."""
        return planned_resources(spec)

    def check(self, spec: DeploymentSpec) -> None:
        """Look for Serverless' image, for Terraform, for credentials, and whether a job is in the way."""
        if spec.engine == "serverless":
            serverless.check_image(spec)
        find_program()
        check_credentials(spec.region)
        _check_jobs(spec, read_outputs(spec))

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Apply infra/aws; a cluster that has ended is made anew."""
        made = read_outputs(spec)
        jobs, application_id = _check_jobs(spec, made), made.get("application_id")
        if application_id and not jobs:
            # AWS changes and removes none that is started; the next job starts it again.
            serverless.stop(spec, application_id, say)
        budget_usd = spec.budget_eur / load_prices().eur_per_usd
        terraform = prepare(spec, package, budget_usd)
        with changing_machines(spec):
            terraform.apply(important_lines(say))
            cluster_id = read_outputs(spec).get("cluster_id")
            if cluster_id and spec.shape.max_workers is None:
                emr.resize(spec, cluster_id, say)

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a step, or a job of the application."""
        check_credentials(spec.region)
        stack = read_stack(spec)
        src, out = resolve(spec, stack.bucket, job.src), resolve_out(stack.bucket, job.out)
        flags = replace_files(job.flags, {file: carry(spec, stack.bucket, Path(file)) for file in job.files})
        submitted: str = _engine(spec).submit(spec, stack, replace(job, src=src, out=out, flags=flags))
        return submitted

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Ask EMR. What is not whole yet, or was interrupted, is told as that."""
        check_credentials(spec.region)
        try:
            stack = read_stack(spec)
        except CloudError as error:
            n_made = len(terraform_of(spec).addresses())
            return DeploymentStatus(f"{error} (of it {n_made} things exist)", is_billable=n_made > 0)
        found: DeploymentStatus = _engine(spec).status(spec, stack)
        is_computing = stack.cluster_id is not None or stack.application_id is not None
        return replace(
            found, data_uri=f"s3://{stack.bucket}", standing_cost=_standing_cost(spec) if is_computing else ""
        )

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield what the job's driver has written, as far as it has been copied to the bucket."""
        check_credentials(spec.region)
        stack = read_stack(spec)
        with store_in(spec.region):
            for folder in _engine(spec).log_folders(stack, job_id):
                lines = list(_read_logs(folder))
                if lines:
                    yield from lines
                    return
        raise CloudError(_NO_LOGS.format(job=job_id))

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result from the bucket."""
        check_credentials(spec.region)
        source = object_path(resolve(spec, read_stack(spec).bucket, out))
        assert source is not None
        with store_in(spec.region):
            fetch_tree(source, folder, say)

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Let Terraform remove what it made; then ask AWS itself what is left."""
        find_program()
        check_credentials(spec.region)
        terraform = terraform_of(spec)
        made = terraform.addresses()
        if application_id := read_outputs(spec).get("application_id") if made else None:
            serverless.stop(spec, application_id, say)
        if keep_data and made:
            change(spec, engine="none").apply(important_lines(say))
        elif made:
            terraform = change(spec, force_destroy=True)
            if _BUCKET in made:  # it may go with what is in it: so it is asked, before it is asked to go
                terraform.apply(important_lines(say), only=_BUCKET)
            terraform.destroy(important_lines(say))
            if spec.image is not None:
                say(f"the image {spec.image} stays, and costs: its repository is not verger's to remove")
        return [found for found in find_leftovers(spec) if not (keep_data and found.kind in ("bucket", "key"))]

    def guard(self, spec: DeploymentSpec) -> list[GuardFinding]:
        """Ask AWS how bucket, key, machines, network and budget are set."""
        check_credentials(spec.region)
        return guard(spec, read_stack(spec))


def _check_jobs(spec: DeploymentSpec, made: Mapping[str, Any]) -> list[str]:
    """Return the jobs under way; raises CloudError where they would not outlive the change to what is wanted."""
    jobs = list[str]()
    if cluster_id := made.get("cluster_id"):
        jobs += emr.active_jobs(spec, cluster_id)
    if application_id := made.get("application_id"):
        jobs += serverless.active_jobs(spec, application_id)
    if jobs and has_other_machines(spec):
        raise CloudError(
            f"job {jobs[0]} is under way on machines that this may change: wait until it is done "
            f"(verger cloud status --name {spec.name}), or take another --name"
        )
    return jobs


def _standing_cost(spec: DeploymentSpec) -> str:
    try:
        eur = f"{eur_a_month_until_down(spec, load_prices()):.2f} EUR"
    except CloudError:  # no price is known for the region
        eur = "some euros"
    return f"the network's endpoint costs {eur} a month, machines or not, until `verger cloud down`"


def _engine(spec: DeploymentSpec) -> Any:
    engines: dict[str, ModuleType] = {"emr": emr, "serverless": serverless}
    return engines[spec.engine]


def _read_logs(folder: str) -> Iterator[str]:
    """Yield the lines of stdout, then of stderr, each under its name."""
    for name in ("stdout", "stderr"):
        file = object_path(f"{folder}/{name}.gz")
        assert file is not None
        try:
            text = gzip.decompress(file.read_bytes()).decode(errors="replace")
        except FileNotFoundError:
            continue
        except (OSError, EOFError) as error:
            raise StorageError(f"{file}: cannot be unpacked ({error})") from error
        yield f"-- {name} --"
        yield from text.splitlines()
