"""The machines of a deployment: a cluster that Google ends, jobs on it, and batches that bring their own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
_STOP_S, _LOOK_S = 300, 5  # how long a batch may take to stop, and how often it is looked at
# Google's page of bucket locations: member states alone; EUR4 is Finland and the Netherlands. EUR5, EUR7 and EUR8
# have a part in London or Zurich.
_EU_MULTI_REGIONS = ("EU", "EUR4")
_SHOWN = 25

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
    _BATCH.CANCELLING: "running",  # its machines are there, and cost
    _BATCH.CANCELLED: "stopped",
}


def start(clients: Clients, spec: DeploymentSpec, names: Names, say: Say) -> None:
    """Make the cluster and wait until it runs; one that is there stays as it is, unless it failed."""
    there = find(clients, names)
    if there is not None and there.status.state == _CLUSTER.ERROR:
        _wait(clients.clusters.delete_cluster(request=_cluster(names)))
        say(f"removed cluster {names.title}, which had failed: {there.status.detail}")
    elif there is not None:
        say(f"cluster {names.title} is {there.status.state.name}: it stays as it is")
        return
    say(f"cluster {names.title} starts: some three minutes")
    asked = {"project_id": names.project, "region": names.region, "cluster": requests.cluster(spec, names)}
    starting = clients.clusters.create_cluster(request=asked)
    try:
        _wait(starting)
    except (GoogleAPIError, TimeoutError):
        say(
            f"cluster {names.title} did not start. It may be there, and cost: `verger cloud down --name "
            f"{spec.name}` removes it, `verger cloud up --name {spec.name}` tries anew"
        )
        raise
    say(f"cluster {names.title} runs")


def check_no_cluster(clients: Clients, names: Names) -> None:
    """Raise CloudError where there is a cluster: a deployment of batches would no longer show it."""
    there = find(clients, names)
    if there is not None and there.status.state != _CLUSTER.DELETING:
        raise CloudError(
            f"the cluster {names.title} is {there.status.state.name}, and would go on costing unseen: wait until "
            "Google ends it as idle, or end it by `verger cloud down --keep-data`; then --engine batch"
        )


def find(clients: Clients, names: Names) -> dataproc.Cluster | None:
    """Return the cluster; None where there is none."""
    try:
        return clients.clusters.get_cluster(request=_cluster(names))
    except NotFound:
        return None


def submit(clients: Clients, spec: DeploymentSpec, names: Names, job: JobSpec) -> str:
    """Start a job, or a batch; return its id."""
    if spec.engine == "batch":
        asked = {"parent": names.location, "batch": requests.batch(spec, names, job)}
        operation = clients.batches.create_batch(request=asked)
        return str(operation.metadata.batch).rpartition("/")[2]
    there = find(clients, names)
    if there is None or there.status.state != _CLUSTER.RUNNING:
        told = there.status.state.name if there else "not there: Google ends it when it is idle"
        raise CloudError(
            f"the cluster {names.title} is {told}; `verger cloud up --name {spec.name}` starts it, with "
            "the same bucket"
        )
    started = clients.jobs.submit_job(
        request={"project_id": names.project, "region": names.region, "job": requests.job(names, job)}
    )
    return started.reference.job_id


def check_buckets(clients: Clients, names: Names, job: JobSpec) -> None:
    """Raise CloudError where a bucket that is not the deployment's own lies outside the EU."""
    for uri in (job.src, job.out):
        bucket = uri.removeprefix("gs://").partition("/")[0]
        if bucket != names.bucket:
            place = str(clients.storage.get_bucket(bucket).location)
            if place.upper() not in _EU_MULTI_REGIONS and place.lower() not in EU_REGIONS["gcp"]:
                raise CloudError(f"the bucket {bucket} lies in {place}, which is not in the European Union alone")


def status(clients: Clients, spec: DeploymentSpec, names: Names) -> DeploymentStatus:
    """Return what runs: a cluster costs while it is there, a batch until it is over."""
    if spec.engine == "batch":
        batches = tuple(map(_batch_status, _batches(clients, names)))
        is_busy = any(batch.state in ACTIVE_STATES for batch in batches)
        return DeploymentStatus(
            "batches run" if is_busy else "ready: machines come with a job", is_busy, batches[:_SHOWN]
        )
    there = find(clients, names)
    jobs = tuple(map(_job_status, _jobs(clients, names)))[:_SHOWN]
    if there is None:
        return DeploymentStatus("there is no cluster: it was idle, or is not up", is_billable=False, jobs=jobs)
    why = f": {there.status.detail}" if there.status.detail else ""
    return DeploymentStatus(f"cluster {names.title} is {there.status.state.name}{why}", is_billable=True, jobs=jobs)


def output_of(clients: Clients, spec: DeploymentSpec, names: Names, job_id: str) -> str:
    """Return what the names of a driver's output begin with; raises CloudError where there is none yet."""
    if spec.engine == "batch":
        batch = clients.batches.get_batch(request={"name": f"{names.location}/batches/{job_id}"})
        uri = batch.runtime_info.output_uri
    else:
        asked = {"project_id": names.project, "region": names.region, "job_id": job_id}
        uri = clients.jobs.get_job(request=asked).driver_output_resource_uri
    if not uri:
        raise CloudError(f"job {job_id} has written nothing yet; `verger cloud status` says what it does")
    return uri


def read_output(clients: Clients, uri: str) -> Iterator[str]:
    """Yield a driver's output, part by part: driveroutput.000000000 and on."""
    place = object_path(uri)
    assert place is not None
    bucket = place.root.removeprefix("gs://")
    for blob in clients.storage.list_blobs(bucket, prefix=place.key):
        yield blob.download_as_bytes().decode(errors="replace")


def end(clients: Clients, names: Names, say: Say) -> None:
    """End the cluster, with the jobs on it, and the batches that run; their network can go when they have."""
    batches = [batch for batch in _batches(clients, names) if _is_on(batch)]
    for batch in batches:
        if batch.state != _BATCH.CANCELLING:
            clients.batches.cancel_operation({"name": batch.operation})
    _await_end(clients, batches, say)
    there = find(clients, names)
    if there is not None and there.status.state != _CLUSTER.DELETING:
        _wait(clients.clusters.delete_cluster(request=_cluster(names)))
        say(f"removed cluster {names.title}")


def leftovers(clients: Clients, names: Names, *, keep_data: bool) -> list[Leftover]:
    """Return what Google still lists of the deployment and would bill, down to machines and disks."""
    asked = {"project_id": names.project, "region": names.region, "filter": _filter(names)}
    left = [Leftover("cluster", found.cluster_name) for found in clients.clusters.list_clusters(request=asked)]
    left += [Leftover("batch", found.name) for found in _batches(clients, names) if _is_on(found)]
    marked = f"labels.goog-dataproc-cluster-name={names.title}"  # Dataproc's own mark on machines and disks
    for kind in ("instances", "disks"):
        zones = clients.compute(f"aggregated/{kind}", filter=marked).get("items", {}).values()
        left += [Leftover(kind.removesuffix("s"), thing["name"]) for zone in zones for thing in zone.get(kind, ())]
    if not keep_data and clients.storage.lookup_bucket(names.bucket) is not None:
        left.append(Leftover("bucket", names.bucket))
    return left


def _await_end(clients: Clients, batches: Sequence[dataproc.Batch], say: Say) -> None:
    """Wait until they are over, or for so long that something must be wrong: `leftovers` tells then."""
    until = time.monotonic() + _STOP_S
    for batch in batches:
        name = _batch_status(batch).id
        say(f"batch {name} stops: its machines go within minutes")
        while _is_on(clients.batches.get_batch(request={"name": batch.name})):
            if time.monotonic() > until:
                say(f"batch {name} still stops, after {_STOP_S // 60} minutes")
                break
            time.sleep(_LOOK_S)
        else:
            say(f"stopped batch {name}")


def _is_on(batch: dataproc.Batch) -> bool:
    return _batch_status(batch).state in ACTIVE_STATES


def _wait(operation: Any) -> None:
    operation.result(timeout=_START_S)


def _cluster(names: Names) -> dict[str, str]:
    return {"project_id": names.project, "region": names.region, "cluster_name": names.title}


def _filter(names: Names) -> str:
    return " AND ".join(f"labels.{key} = {value}" for key, value in names.labels.items())


def _jobs(clients: Clients, names: Names) -> list[dataproc.Job]:
    asked = {"project_id": names.project, "region": names.region, "filter": _filter(names)}
    found = clients.jobs.list_jobs(request=asked)
    return sorted(found, key=lambda job: job.status.state_start_time, reverse=True)


def _batches(clients: Clients, names: Names) -> list[dataproc.Batch]:
    asked = {"parent": names.location, "filter": _filter(names)}
    return sorted(clients.batches.list_batches(request=asked), key=lambda batch: batch.create_time, reverse=True)


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
    """Return a time as people read it; nothing where there is none."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
