"""Google Cloud: a bucket, a private network, and Dataproc, on a cluster or serverless (engine batch).

`stack` is what Terraform makes (infra/gcp), `requests` what Dataproc is asked for, `machines` what comes and goes,
`guard` looks at what exists; `names` knows what all is called, `clients` how Google is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from verger.cloud.deploy.package import check_package
from verger.cloud.deploy.provider import Deployment, Finding, Job, Leftover, Resource, Say, Status
from verger.cloud.deploy.targets import target_of
from verger.cloud.deploy.terraform import find_program, terraform_of
from verger.cloud.deploy.transfer import fetch_tree
from verger.cloud.gcp.clients import Clients, in_words, open_clients
from verger.cloud.gcp.guard import findings
from verger.cloud.gcp.names import Names
from verger.cloud.gcp.stack import NOTHING, prepare
from verger.cloud.regions import check_region
from verger.errors import SettingsError
from verger.storage.objects import object_path

_LEAST_IDLE_MINUTES = 5  # of LifecycleConfig.idle_delete_ttl


class Gcp:
    """See `provider.Provider`."""

    def plan(self, wanted: Deployment) -> list[Resource]:
        """Return what `up` would make."""
        check_region("gcp", wanted.region)
        names = Names.of(replace(wanted, project=wanted.project or "PROJECT"))
        lasting = [
            Resource("bucket", names.bucket, "photos, results, logs; private, versioned, old photos grow cold"),
            Resource("network", names.title, "no address of a machine is public"),
            Resource("service account", names.service_account, "as whom the machines work"),
        ]
        if wanted.email:
            lasting.append(Resource("budget", names.title, f"tells {wanted.email} at 50, 90 and 100 %"))
        if wanted.engine == "batch":
            return lasting
        ends = f"ends after {wanted.idle_minutes} idle minutes, and after {wanted.max_hours} hours"
        return [*lasting, Resource("Dataproc cluster", names.title, ends)]

    def check(self, wanted: Deployment) -> None:
        """Look for Terraform and credentials, for limits of Dataproc, for a cluster that batches would hide."""
        _check_tools(wanted)
        if wanted.engine == "dataproc" and wanted.idle_minutes < _LEAST_IDLE_MINUTES:
            raise SettingsError("idle_minutes", wanted.idle_minutes, f"{_LEAST_IDLE_MINUTES} at least on Dataproc")
        if wanted.engine == "batch":
            clients, names = _open(wanted)
            from verger.cloud.gcp import machines

            with in_words():
                machines.check_no_cluster(clients, names)

    def up(self, wanted: Deployment, package: Path, say: Say) -> None:
        """Apply infra/gcp, upload the package, start the cluster where none runs."""
        self.check(wanted)
        check_package(package, target_of(wanted))
        clients, names = _open(wanted)
        from verger.cloud.gcp import machines, upload

        prepare(wanted).apply(say)
        with in_words():
            upload.put_package(clients, names, package, say, as_archive=wanted.engine == "batch")
            if wanted.engine == "dataproc":
                machines.start(clients, wanted, names, say)

    def submit(self, here: Deployment, job: Job) -> str:
        """Start a job on the cluster, or a batch."""
        clients, names = _open(here)
        from verger.cloud.gcp import machines

        job = replace(job, src=names.resolve(job.src), out=names.resolve(job.out))
        with in_words():
            machines.check_buckets(clients, names, job)
            return machines.submit(clients, here, names, job)

    def status(self, here: Deployment) -> Status:
        """Return the cluster's state, and its jobs or the batches."""
        clients, names = _open(here)
        from verger.cloud.gcp import machines

        with in_words():
            return replace(machines.status(clients, here, names), place=f"gs://{names.bucket}")

    def logs(self, here: Deployment, job_id: str) -> Iterator[str]:
        """Yield what the driver has written, which Dataproc copies to the bucket as it comes."""
        clients, names = _open(here)
        from verger.cloud.gcp import machines

        with in_words():
            folder = machines.output_of(clients, here, names, job_id)
            for text in machines.read_output(clients, folder):
                yield from text.splitlines()

    def fetch(self, here: Deployment, out: str, folder: Path, say: Say) -> None:
        """Copy a result from the bucket."""
        source = object_path(Names.of(here).resolve(out))
        assert source is not None
        fetch_tree(source, folder, say)

    def down(self, here: Deployment, say: Say, *, keep_data: bool) -> list[Leftover]:
        """End the machines, destroy what Terraform made, then ask Google itself what is left."""
        _check_tools(here)
        clients, names = _open(here)
        from verger.cloud.gcp import machines

        with in_words():
            machines.end(clients, names, say)
        if terraform_of(here).has_state:
            if keep_data:
                prepare(here, engine=NOTHING).apply(say)
            else:
                # Only what is applied counts for `destroy`: that the bucket goes with what is in it.
                prepare(here, engine=NOTHING, force_destroy=True).apply(say)
                terraform_of(here).destroy(say)
        with in_words():
            return machines.leftovers(clients, names, keep_data=keep_data)

    def guard(self, here: Deployment) -> list[Finding]:
        """Ask Google how bucket and cluster are set."""
        clients, names = _open(here)
        from verger.cloud.gcp import machines

        with in_words():
            bucket = clients.storage.lookup_bucket(names.bucket)
            cluster = machines.find(clients, names) if here.engine == "dataproc" else None
            return findings(here, names, bucket, cluster)


def _check_tools(here: Deployment) -> None:
    check_region("gcp", here.region)
    find_program()
    open_clients(Names.of(here).project, here.region)


def _open(here: Deployment) -> tuple[Clients, Names]:
    """Return how to ask, and what all is called. It comes before what needs the extra, whose lack it tells."""
    names = Names.of(here)
    return open_clients(names.project, names.region), names
