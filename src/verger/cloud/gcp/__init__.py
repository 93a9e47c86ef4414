"""Google Cloud: a bucket, a private network, and Dataproc, with a cluster or without one (engine batch).

`stack` creates the permanent parts with Terraform (infra/gcp), `requests` builds requests to Dataproc, `machines`
runs clusters and jobs, `guard` checks a deployment's settings, `names` has the names of all resources, `clients`
creates Google's clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from verger.cloud.deploy.package import check_package
from verger.cloud.deploy.provider import (
    DeploymentSpec,
    DeploymentStatus,
    Finding,
    JobSpec,
    Leftover,
    PlannedResource,
    Say,
)
from verger.cloud.deploy.targets import target_of
from verger.cloud.deploy.terraform import find_program, terraform_of
from verger.cloud.deploy.transfer import fetch_tree
from verger.cloud.gcp.clients import open_clients, translated_errors
from verger.cloud.gcp.guard import findings
from verger.cloud.gcp.names import Names
from verger.cloud.gcp.stack import DATA_ONLY, prepare
from verger.cloud.regions import check_region
from verger.errors import SettingsError
from verger.storage.objects import object_path

if TYPE_CHECKING:
    from verger.cloud.gcp.machines import Machines

_MIN_IDLE_MINUTES = 5  # Dataproc's minimum for LifecycleConfig.idle_delete_ttl


class Gcp:
    """The provider of Google Cloud; see `provider.Provider` for the methods."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return the resources that `up` would create."""
        check_region("gcp", spec.region)
        names = Names.of(replace(spec, project=spec.project or "PROJECT"))
        lasting = [
            PlannedResource(
                "bucket", names.bucket, "photos, results, logs; private, versioned, old photos in cold storage"
            ),
            PlannedResource("network", names.title, "machines have no public addresses"),
            PlannedResource("service account", names.service_account, "identity of the machines"),
        ]
        if spec.email:
            lasting.append(PlannedResource("budget", names.title, f"mails {spec.email} at 50, 90 and 100 %"))
        if spec.engine == "batch":
            return lasting
        ends = f"ends after {spec.idle_minutes} idle minutes, and after {spec.max_hours} hours"
        return [*lasting, PlannedResource("Dataproc cluster", names.title, ends)]

    def check(self, spec: DeploymentSpec) -> None:
        """Check Terraform, credentials and Dataproc's limits; for batches also check that no cluster exists."""
        _check_tools(spec)
        if spec.engine == "dataproc" and spec.idle_minutes < _MIN_IDLE_MINUTES:
            raise SettingsError("idle_minutes", spec.idle_minutes, f"at least {_MIN_IDLE_MINUTES} on Dataproc")
        if spec.engine == "batch":
            machines = _open(spec)
            with translated_errors():
                machines.check_no_cluster()

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Apply infra/gcp, upload the package, and start the cluster if it is not running."""
        self.check(spec)
        check_package(package, target_of(spec))
        machines = _open(spec)
        from verger.cloud.gcp.upload import put_package

        prepare(spec).apply(say)
        with translated_errors():
            put_package(machines.clients, machines.names, package, say, as_archive=spec.engine == "batch")
            if spec.engine == "dataproc":
                machines.start(spec, say)

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a job on the cluster, or a batch."""
        machines = _open(spec)
        job = replace(job, src=machines.names.resolve(job.src), out=machines.names.resolve(job.out))
        with translated_errors():
            machines.check_buckets(job)
            return machines.submit(spec, job)

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return the cluster's state and its jobs, or the batches."""
        machines = _open(spec)
        with translated_errors():
            return replace(machines.status(spec), data_uri=f"gs://{machines.names.bucket}")

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the log lines of the driver, which Dataproc copies to the bucket while the driver runs."""
        machines = _open(spec)
        with translated_errors():
            folder = machines.output_of(spec, job_id)
            for text in machines.read_output(folder):
                yield from text.splitlines()

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result from the bucket."""
        source = object_path(Names.of(spec).resolve(out))
        assert source is not None
        fetch_tree(source, folder, say)

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """End the machines and remove the rest with Terraform; then query Google for resources that still exist."""
        _check_tools(spec)
        machines = _open(spec)
        with translated_errors():
            machines.end(say)
        if terraform_of(spec).has_state:
            if keep_data:
                prepare(spec, engine=DATA_ONLY).apply(say)
            else:
                # force_destroy lets Terraform remove a full bucket, but has an effect only after it was applied.
                prepare(spec, engine=DATA_ONLY, force_destroy=True).apply(say)
                terraform_of(spec).destroy(say)
        with translated_errors():
            return machines.leftovers(keep_data=keep_data)

    def guard(self, spec: DeploymentSpec) -> list[Finding]:
        """Check the settings that Google reports for bucket and cluster."""
        machines = _open(spec)
        with translated_errors():
            bucket = machines.clients.storage.lookup_bucket(machines.names.bucket)
            cluster = machines.find() if spec.engine == "dataproc" else None
            return findings(spec, machines.names, bucket, cluster)


def _check_tools(spec: DeploymentSpec) -> None:
    check_region("gcp", spec.region)
    find_program()
    open_clients(Names.of(spec).project, spec.region)


def _open(spec: DeploymentSpec) -> Machines:
    """Return the deployment's machines. `open_clients` checks for the extra, so it is called before the import."""
    names = Names.of(spec)
    clients = open_clients(names.project, names.region)
    from verger.cloud.gcp.machines import Machines

    return Machines(clients, names)
