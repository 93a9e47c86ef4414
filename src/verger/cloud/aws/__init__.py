"""AWS: a bucket, a private network, and EMR on EC2 or EMR Serverless.

`stack` creates the permanent parts with Terraform (infra/aws), `emr` and `serverless` run jobs, `bucket` checks the
jobs' paths, `guard` checks a deployment's settings, `leftovers` finds resources that still cost money, `clients`
creates boto3's clients.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from verger.cloud.aws import emr, serverless
from verger.cloud.aws.bucket import resolve_result, resolve_source, upload_file
from verger.cloud.aws.clients import check_credentials
from verger.cloud.aws.guard import guard
from verger.cloud.aws.leftovers import find_leftovers
from verger.cloud.aws.resources import planned_resources
from verger.cloud.aws.stack import (
    Stack,
    change,
    has_other_machines,
    important_lines,
    prepare,
    read_outputs,
    read_stack,
    recording_machines,
)
from verger.cloud.deploy.command_line import replace_files
from verger.cloud.deploy.provider import (
    DeploymentSpec,
    DeploymentStatus,
    Finding,
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
from verger.storage.objects.stores import set_s3_region

_BUCKET = "aws_s3_bucket.data"

_NO_LOGS = (
    "job {job} has no log lines yet: EMR copies them to the bucket every five minutes and at the end of the job; "
    "`verger cloud status` shows the state of the job"
)


class Aws:
    """The provider of AWS; see `provider.Provider` for the methods."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return the resources that Terraform would create."""
        return planned_resources(spec)

    def check(self, spec: DeploymentSpec) -> None:
        """Check Terraform, the credentials, EMR Serverless's image, and that the change would end no job."""
        if spec.engine == "serverless":
            serverless.check_image(spec)
        find_program()
        check_credentials(spec.region)
        _check_jobs(spec, read_outputs(spec))

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Apply infra/aws; this also creates a new cluster if the last one has ended."""
        outputs = read_outputs(spec)
        jobs, application_id = _check_jobs(spec, outputs), outputs.get("application_id")
        if application_id and not jobs:
            # AWS can change or remove an application only while it is stopped. The next job starts it again.
            serverless.stop(spec, application_id, say)
        budget_usd = spec.budget_eur / load_prices().eur_per_usd
        terraform = prepare(spec, package, budget_usd)
        with recording_machines(spec):
            terraform.apply(important_lines(say))
            cluster_id = read_outputs(spec).get("cluster_id")
            if cluster_id and spec.shape.max_workers is None:
                emr.resize(spec, cluster_id, say)

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a step on the cluster, or a job of the EMR Serverless application."""
        stack = _open_stack(spec)
        src, out = resolve_source(spec, stack.bucket, job.src), resolve_result(stack.bucket, job.out)
        uris = {file: upload_file(spec, stack.bucket, Path(file)) for file in job.files}
        job = replace(job, src=src, out=out, flags=replace_files(job.flags, uris))
        job_id: str = _engine(spec).submit(spec, stack, job)
        return job_id

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return EMR's state, also for an incomplete deployment."""
        check_credentials(spec.region)
        try:
            stack = read_stack(spec)
        except CloudError as error:
            n_made = len(terraform_of(spec).addresses())
            return DeploymentStatus(f"{error} ({n_made} resources of the deployment exist)", is_billable=n_made > 0)
        status: DeploymentStatus = _engine(spec).status(spec, stack)
        has_machines = stack.cluster_id is not None or stack.application_id is not None
        return replace(
            status, data_uri=f"s3://{stack.bucket}", standing_cost=_standing_cost(spec) if has_machines else ""
        )

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the log lines of the job's driver, as far as EMR has copied them to the bucket."""
        stack = _open_stack(spec)
        for folder in _engine(spec).log_folders(stack, job_id):
            lines = list(_read_logs(folder))
            if lines:
                yield from lines
                return
        raise CloudError(_NO_LOGS.format(job=job_id))

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result from the bucket."""
        source = object_path(resolve_source(spec, _open_stack(spec).bucket, out))
        assert source is not None
        fetch_tree(source, folder, say)

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Remove the deployment with Terraform; then query AWS for resources that still exist."""
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
            if _BUCKET in made:  # force_destroy has an effect only after it was applied
                terraform.apply(important_lines(say), only=_BUCKET)
            terraform.destroy(important_lines(say))
            if spec.image is not None:
                say(f"the image {spec.image} still costs money: verger does not remove it from your registry")
        return [left for left in find_leftovers(spec) if not (keep_data and left.kind in ("bucket", "key"))]

    def guard(self, spec: DeploymentSpec) -> list[Finding]:
        """Check the settings that AWS reports for bucket, key, machines, network and budget."""
        check_credentials(spec.region)
        return guard(spec, read_stack(spec))


def _open_stack(spec: DeploymentSpec) -> Stack:
    """Return the stack that exists. From now on verger reads the bucket in the deployment's region.

    The region in the environment (AWS_REGION) may be another one.
    """
    check_credentials(spec.region)
    stack = read_stack(spec)
    set_s3_region(f"s3a://{stack.bucket}", spec.region)
    return stack


def _check_jobs(spec: DeploymentSpec, outputs: Mapping[str, Any]) -> list[str]:
    """Return the active jobs. Raises CloudError if there are any and a change of the machines would end them."""
    jobs = list[str]()
    if cluster_id := outputs.get("cluster_id"):
        jobs += emr.active_jobs(spec, cluster_id)
    if application_id := outputs.get("application_id"):
        jobs += serverless.active_jobs(spec, application_id)
    if jobs and has_other_machines(spec):
        raise CloudError(
            f"job {jobs[0]} is running on machines that this command may change: wait until the job ends "
            f"(verger cloud status --name {spec.name}), or use another --name"
        )
    return jobs


def _standing_cost(spec: DeploymentSpec) -> str:
    try:
        eur = f"{eur_a_month_until_down(spec, load_prices()):.2f} EUR"
    except CloudError:  # the table has no price for the region
        eur = "a few euros"
    return f"the network's endpoint costs {eur} a month, with or without machines, until `verger cloud down`"


def _engine(spec: DeploymentSpec) -> Any:
    engines: dict[str, ModuleType] = {"emr": emr, "serverless": serverless}
    return engines[spec.engine]


def _read_logs(folder: str) -> Iterator[str]:
    """Yield the lines of stdout and then of stderr; a line with the stream's name precedes each stream."""
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
