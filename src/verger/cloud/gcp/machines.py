"""Clusters, jobs and batches of a deployment: start, submit, status, logs and end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.cloud import dataproc_v1 as dataproc

from verger.cloud.deploy.provider import (
    ACTIVE_STATES,
    DeploymentSpec,
    DeploymentStatus,
    JobSpec,
    JobStatus,
    Leftover,
    Say,
)
from verger.cloud.gcp import requests
from verger.cloud.gcp.clients import Clients
from verger.cloud.gcp.names import Names
from verger.cloud.regions import EU_REGIONS
from verger.errors import CloudError
from verger.storage.objects import object_path

_START_S = 1800
_STOP_S, _POLL_S = 300, 5  # longest wait until a batch has stopped, and interval at which its state is read
# Multi-regions within the EU, from Google's page of bucket locations. EUR4 is Finland and the Netherlands. EUR5,
# EUR7 and EUR8 are not allowed, because a part of each is in London or Zurich.
_EU_MULTI_REGIONS = ("EU", "EUR4")
_MAX_JOBS_SHOWN = 25

_CLUSTER = dataproc.ClusterStatus.State
_JOB = dataproc.JobStatus.State
_BATCH = dataproc.Batch.State
_JOB_STATES = {
    _JOB.PENDING: "waiting",
    _JOB.SETUP_DONE: "waiting",
    _JOB.RUNNING: "running",
    _JOB.DONE: "done",
    _JOB.ERROR: "failed",
    _JOB.ATTEMPT_FAILURE: "failed",
    _JOB.CANCEL_PENDING: "stopped",
    _JOB.CANCEL_STARTED: "stopped",
    _JOB.CANCELLED: "stopped",
}
_BATCH_STATES = {
    _BATCH.PENDING: "waiting",
    _BATCH.RUNNING: "running",
    _BATCH.SUCCEEDED: "done",
    _BATCH.FAILED: "failed",
    _BATCH.CANCELLING: "running",  # its machines still exist and cost money
    _BATCH.CANCELLED: "stopped",
}


@dataclass(frozen=True)
class Machines:
    """The clusters, jobs and batches of one deployment."""

    clients: Clients
    names: Names

    def start(self, spec: DeploymentSpec, say: Say) -> None:
        """Create the cluster and wait until it runs. An existing cluster is kept, but a failed one is replaced."""
        existing = self.find()
        if existing is not None and existing.status.state == _CLUSTER.ERROR:
            _wait(self.clients.clusters.delete_cluster(request=self._request(cluster_name=self.names.title)))
            say(f"removed the failed cluster {self.names.title} ({existing.status.detail})")
        elif existing is not None:
            say(f"cluster {self.names.title} already exists ({existing.status.state.name}) and is kept unchanged")
            return
        say(f"starting cluster {self.names.title}, which takes about three minutes")
        request = self._request(cluster=requests.cluster(spec, self.names))
        starting = self.clients.clusters.create_cluster(request=request)
        try:
            _wait(starting)
        except (GoogleAPIError, TimeoutError):
            say(
                f"cluster {self.names.title} did not start. It may exist and cost money: `verger cloud down --name "
                f"{spec.name}` removes it, `verger cloud up --name {spec.name}` tries again"
            )
            raise
        say(f"cluster {self.names.title} runs")

    def check_no_cluster(self) -> None:
        """Raise CloudError if there is a cluster: with --engine batch, `status` would not show it."""
        existing = self.find()
        if existing is not None and existing.status.state != _CLUSTER.DELETING:
            raise CloudError(
                f"the cluster {self.names.title} still exists ({existing.status.state.name}). With --engine batch, "
                "`status` would not show it. Wait until Google ends the idle cluster, or run "
                "`verger cloud down --keep-data`; then use --engine batch"
            )

    def find(self) -> dataproc.Cluster | None:
        """Return the cluster, or None if it does not exist."""
        try:
            return self.clients.clusters.get_cluster(request=self._request(cluster_name=self.names.title))
        except NotFound:
            return None

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a job, or a batch; return its id."""
        if spec.engine == "batch":
            batch = requests.batch(spec, self.names, job)
            operation = self.clients.batches.create_batch(request={"parent": self.names.location, "batch": batch})
            return str(operation.metadata.batch).rpartition("/")[2]
        cluster = self.find()
        if cluster is None or cluster.status.state != _CLUSTER.RUNNING:
            state = f"is {cluster.status.state.name}" if cluster else "does not exist (Google removes idle ones)"
            raise CloudError(
                f"the cluster {self.names.title} {state}; `verger cloud up --name {spec.name}` starts one with "
                "this bucket"
            )
        request = self._request(job=requests.job(self.names, job))
        return self.clients.jobs.submit_job(request=request).reference.job_id

    def check_buckets(self, job: JobSpec) -> None:
        """Raise CloudError if the source or result is in a bucket outside the EU."""
        for uri in (job.src, job.out):
            bucket = uri.removeprefix("gs://").partition("/")[0]
            if bucket != self.names.bucket:
                location = str(self.clients.storage.get_bucket(bucket).location)
                if location.upper() not in _EU_MULTI_REGIONS and location.lower() not in EU_REGIONS["gcp"]:
                    raise CloudError(
                        f"the bucket {bucket} is in {location}, which is not entirely in the European Union"
                    )

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return the state and the jobs. A cluster costs money as long as it exists, a batch until it ends."""
        if spec.engine == "batch":
            batches = tuple(map(_batch_status, self._batches()))
            is_busy = any(batch.state in ACTIVE_STATES for batch in batches)
            state = "batches run" if is_busy else "ready: each job starts its own machines"
            return DeploymentStatus(state, is_busy, batches[:_MAX_JOBS_SHOWN])
        cluster = self.find()
        jobs = tuple(map(_job_status, self._jobs()))[:_MAX_JOBS_SHOWN]
        if cluster is None:
            state = "there is no cluster: Google removed it because it was idle, or it was never started"
            return DeploymentStatus(state, is_billable=False, jobs=jobs)
        reason = f": {cluster.status.detail}" if cluster.status.detail else ""
        state = f"cluster {self.names.title} is {cluster.status.state.name}{reason}"
        return DeploymentStatus(state, is_billable=True, jobs=jobs)

    def output_of(self, spec: DeploymentSpec, job_id: str) -> str:
        """Return the URI prefix of a driver's output; raises CloudError if there is no output yet."""
        if spec.engine == "batch":
            batch = self.clients.batches.get_batch(request={"name": f"{self.names.location}/batches/{job_id}"})
            uri = batch.runtime_info.output_uri
        else:
            uri = self.clients.jobs.get_job(request=self._request(job_id=job_id)).driver_output_resource_uri
        if not uri:
            raise CloudError(f"job {job_id} has written nothing yet; `verger cloud status` shows the job's state")
        return uri

    def read_output(self, uri: str) -> Iterator[str]:
        """Yield a driver's output from its parts: driveroutput.000000000 and so on."""
        output = object_path(uri)
        assert output is not None
        bucket = output.root.removeprefix("gs://")
        for blob in self.clients.storage.list_blobs(bucket, prefix=output.key):
            yield blob.download_as_bytes().decode(errors="replace")

    def end(self, say: Say) -> None:
        """End all running batches, and the cluster with its jobs; their network can be removed only after this."""
        batches = [batch for batch in self._batches() if _is_active(batch)]
        for batch in batches:
            if batch.state != _BATCH.CANCELLING:
                self.clients.batches.cancel_operation({"name": batch.operation})
        self._await_end(batches, say)
        cluster = self.find()
        if cluster is not None and cluster.status.state != _CLUSTER.DELETING:
            _wait(self.clients.clusters.delete_cluster(request=self._request(cluster_name=self.names.title)))
            say(f"removed cluster {self.names.title}")

    def leftovers(self, *, keep_data: bool) -> list[Leftover]:
        """Return the deployment's resources that Google still lists and bills, also single machines and disks."""
        clusters = self.clients.clusters.list_clusters(request=self._request(filter=self._filter()))
        left = [Leftover("cluster", cluster.cluster_name) for cluster in clusters]
        left += [Leftover("batch", batch.name) for batch in self._batches() if _is_active(batch)]
        label = f"labels.goog-dataproc-cluster-name={self.names.title}"  # Dataproc puts it on machines and disks
        for kind in ("instances", "disks"):
            zones = self.clients.compute(f"aggregated/{kind}", filter=label).get("items", {}).values()
            left += [
                Leftover(kind.removesuffix("s"), each["name"]) for zone in zones for each in zone.get(kind, ())
            ]
        if not keep_data and self.clients.storage.lookup_bucket(self.names.bucket) is not None:
            left.append(Leftover("bucket", self.names.bucket))
        return left

    def _await_end(self, batches: Sequence[dataproc.Batch], say: Say) -> None:
        """Wait until the batches have ended, at most _STOP_S; `leftovers` reports batches that still run then."""
        until = time.monotonic() + _STOP_S
        for batch in batches:
            name = _batch_status(batch).id
            say(f"stopping batch {name}, whose machines end within minutes")
            while _is_active(self.clients.batches.get_batch(request={"name": batch.name})):
                if time.monotonic() > until:
                    say(f"batch {name} has not stopped after {_STOP_S // 60} minutes")
                    break
                time.sleep(_POLL_S)
            else:
                say(f"stopped batch {name}")

    def _request(self, **fields: Any) -> dict[str, Any]:
        return {"project_id": self.names.project, "region": self.names.region, **fields}

    def _filter(self) -> str:
        return " AND ".join(f"labels.{key} = {value}" for key, value in self.names.labels.items())

    def _jobs(self) -> list[dataproc.Job]:
        jobs = self.clients.jobs.list_jobs(request=self._request(filter=self._filter()))
        return sorted(jobs, key=lambda job: job.status.state_start_time, reverse=True)

    def _batches(self) -> list[dataproc.Batch]:
        request = {"parent": self.names.location, "filter": self._filter()}
        batches = self.clients.batches.list_batches(request=request)
        return sorted(batches, key=lambda batch: batch.create_time, reverse=True)


def _is_active(batch: dataproc.Batch) -> bool:
    return _batch_status(batch).state in ACTIVE_STATES


def _wait(operation: Any) -> None:
    operation.result(timeout=_START_S)


def _job_status(job: dataproc.Job) -> JobStatus:
    began = next((past.state_start_time for past in job.status_history), job.status.state_start_time)
    state = _JOB_STATES.get(job.status.state, job.status.state.name.lower())
    ended = job.status.state_start_time if state in ("done", "failed", "stopped") else None
    return JobStatus(job.reference.job_id, state, job.status.details, _time(began), _time(ended))


def _batch_status(batch: dataproc.Batch) -> JobStatus:
    state = _BATCH_STATES.get(batch.state, batch.state.name.lower())
    ended = batch.state_time if state in ("done", "failed", "stopped") else None
    name = batch.name.rpartition("/")[2]
    return JobStatus(name, state, batch.state_message, _time(batch.create_time), _time(ended))


def _time(moment: object) -> str:
    """Return a time as text, without seconds; an empty text for None."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
