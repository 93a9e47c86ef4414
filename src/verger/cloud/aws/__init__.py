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
from verger.cloud.aws.resources import planned
from verger.cloud.aws.stack import (
    briefly,
    change,
    changing_machines,
    has_other_machines,
    prepare,
    read_outputs,
    read_stack,
)
from verger.cloud.deploy.command_line import with_uris
from verger.cloud.deploy.provider import Deployment, Finding, Job, Leftover, Resource, Say, Status
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

    def plan(self, wanted: Deployment) -> list[Resource]:
        """Return what Terraform would make."""
        return planned(wanted)

    def check(self, wanted: Deployment) -> None:
        """Look for Serverless' image, for Terraform, for credentials, and whether a job is in the way."""
        if wanted.engine == "serverless":
            serverless.check_image(wanted)
        find_program()
        check_credentials(wanted.region)
        _check_jobs(wanted, read_outputs(wanted))

    def up(self, wanted: Deployment, package: Path, say: Say) -> None:
        """Apply infra/aws; a cluster that has ended is made anew."""
        made = read_outputs(wanted)
        jobs, application_id = _check_jobs(wanted, made), made.get("application_id")
        if application_id and not jobs:
            # AWS changes and removes none that is started; the next job starts it again.
            serverless.stop(wanted, application_id, say)
        budget_usd = wanted.budget_eur / load_prices().eur_per_usd
        terraform = prepare(wanted, package, budget_usd)
        with changing_machines(wanted):
            terraform.apply(briefly(say))
            cluster_id = read_outputs(wanted).get("cluster_id")
            if cluster_id and wanted.shape.max_workers is None:
                emr.resize(wanted, cluster_id, say)

    def submit(self, here: Deployment, job: Job) -> str:
        """Start a step, or a job of the application."""
        check_credentials(here.region)
        stack = read_stack(here)
        src, out = resolve(here, stack.bucket, job.src), resolve_out(stack.bucket, job.out)
        flags = with_uris(job.flags, {file: carry(here, stack.bucket, Path(file)) for file in job.files})
        submitted: str = _engine(here).submit(here, stack, replace(job, src=src, out=out, flags=flags))
        return submitted

    def status(self, here: Deployment) -> Status:
        """Ask EMR. What is not whole yet, or was interrupted, is told as that."""
        check_credentials(here.region)
        try:
            stack = read_stack(here)
        except CloudError as error:
            n_made = len(terraform_of(here).addresses())
            return Status(f"{error} (of it {n_made} things exist)", is_billable=n_made > 0)
        found: Status = _engine(here).status(here, stack)
        is_computing = stack.cluster_id is not None or stack.application_id is not None
        return replace(found, place=f"s3://{stack.bucket}", standing=_standing(here) if is_computing else "")

    def logs(self, here: Deployment, job_id: str) -> Iterator[str]:
        """Yield what the job's driver has written, as far as it has been copied to the bucket."""
        check_credentials(here.region)
        stack = read_stack(here)
        with store_in(here.region):
            for folder in _engine(here).log_folders(stack, job_id):
                lines = list(_read_logs(folder))
                if lines:
                    yield from lines
                    return
        raise CloudError(_NO_LOGS.format(job=job_id))

    def fetch(self, here: Deployment, out: str, folder: Path, say: Say) -> None:
        """Copy a result from the bucket."""
        check_credentials(here.region)
        source = object_path(resolve(here, read_stack(here).bucket, out))
        assert source is not None
        with store_in(here.region):
            fetch_tree(source, folder, say)

    def down(self, here: Deployment, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Let Terraform remove what it made; then ask AWS itself what is left."""
        find_program()
        check_credentials(here.region)
        terraform = terraform_of(here)
        made = terraform.addresses()
        if application_id := read_outputs(here).get("application_id") if made else None:
            serverless.stop(here, application_id, say)
        if keep_data and made:
            change(here, engine="none").apply(briefly(say))
        elif made:
            terraform = change(here, force_destroy=True)
            if _BUCKET in made:  # it may go with what is in it: so it is asked, before it is asked to go
                terraform.apply(briefly(say), only=_BUCKET)
            terraform.destroy(briefly(say))
            if here.image is not None:
                say(f"the image {here.image} stays, and costs: its repository is not verger's to remove")
        return [found for found in find_leftovers(here) if not (keep_data and found.kind in ("bucket", "key"))]

    def guard(self, here: Deployment) -> list[Finding]:
        """Ask AWS how bucket, key, machines, network and budget are set."""
        check_credentials(here.region)
        return guard(here, read_stack(here))


def _check_jobs(wanted: Deployment, made: Mapping[str, Any]) -> list[str]:
    """Return the jobs under way; raises CloudError where they would not outlive the change to what is wanted."""
    jobs = list[str]()
    if cluster_id := made.get("cluster_id"):
        jobs += emr.under_way(wanted, cluster_id)
    if application_id := made.get("application_id"):
        jobs += serverless.under_way(wanted, application_id)
    if jobs and has_other_machines(wanted):
        raise CloudError(
            f"job {jobs[0]} is under way on machines that this may change: wait until it is done "
            f"(verger cloud status --name {wanted.name}), or take another --name"
        )
    return jobs


def _standing(here: Deployment) -> str:
    try:
        eur = f"{eur_a_month_until_down(here, load_prices()):.2f} EUR"
    except CloudError:  # no price is known for the region
        eur = "some euros"
    return f"the network's endpoint costs {eur} a month, machines or not, until `verger cloud down`"


def _engine(here: Deployment) -> Any:
    engines: dict[str, ModuleType] = {"emr": emr, "serverless": serverless}
    return engines[here.engine]


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
