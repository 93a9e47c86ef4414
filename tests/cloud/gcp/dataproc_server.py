"""A Dataproc of our own, as far as verger asks one; requests are read, and answers written, by Google's own types.

A field that those types do not know is an error there, and fails the test.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import dataproc_v1 as dataproc
from google.protobuf import json_format

from tests.cloud.stub import RefusedError, Request, Routes

_BEGAN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
_TYPES = "type.googleapis.com/google.cloud.dataproc.v1"


@dataclass
class Dataproc:
    """Clusters, jobs, batches and operations; what a job becomes is for a test to say."""

    clusters: dict[str, dataproc.Cluster] = field(default_factory=dict)
    jobs: dict[str, dataproc.Job] = field(default_factory=dict)
    batches: dict[str, dataproc.Batch] = field(default_factory=dict)
    machines: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"instances": [], "disks": []})
    failure: str = ""  # of the clusters that are begun from now on, as Google says it
    looks: int = 0  # so often a batch is still stopping when it is looked at
    ids: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def routes(self) -> Routes:
        region, location = r"/v1/(projects/[^/]+/regions/[^/]+)", r"/v1/(projects/[^/]+/locations/[^/]+)"
        return {
            rf"POST {region}/clusters": self._make_cluster,
            rf"GET {region}/clusters": lambda request: _listed("clusters", self.clusters, request),
            rf"GET {region}/clusters/(.+)": lambda request: _json(_found(self.clusters, request)),
            rf"DELETE {region}/clusters/(.+)": self._delete_cluster,
            rf"POST {region}/jobs:submit": self._submit,
            rf"GET {region}/jobs": lambda request: _listed("jobs", self.jobs, request),
            rf"GET {region}/jobs/(.+)": lambda request: _json(_found(self.jobs, request)),
            rf"POST {location}/batches": self._make_batch,
            rf"GET {location}/batches": lambda request: _listed("batches", self.batches, request),
            rf"GET {location}/batches/(.+)": self._get_batch,
            r"POST /v1/(projects/.+/operations)/(.+):cancel": self._cancel,
            r"GET /compute/v1/projects/[^/]+/aggregated/(instances|disks)": self._machines,
        }

    def finish_job(self, job: str, state: str, output: str = "", details: str = "") -> None:
        """Let a job end."""
        existing = self.jobs[job]
        existing.status_history.append(existing.status)
        ended = _BEGAN + timedelta(minutes=30)
        content = {"state": state, "stateStartTime": ended.isoformat(), "details": details}
        existing.status = dataproc.JobStatus.from_json(json.dumps(content))
        existing.driver_output_resource_uri = output

    def _make_cluster(self, request: Request) -> object:
        cluster = dataproc.Cluster.from_json(request.body)
        if cluster.cluster_name in self.clusters:
            raise _refused(409, "ALREADY_EXISTS", f"Already exists: cluster {cluster.cluster_name}")
        cluster.status = dataproc.ClusterStatus(state=dataproc.ClusterStatus.State.RUNNING, state_start_time=_BEGAN)
        self.clusters[cluster.cluster_name] = cluster
        done = self._done(request.groups[0], "Cluster", _json(cluster))
        if self.failure:
            cluster.status.state = dataproc.ClusterStatus.State(dataproc.ClusterStatus.State.ERROR)
            cluster.status.detail = self.failure
            del done["response"]
            done["error"] = {"code": 3, "message": self.failure}
        return done

    def _delete_cluster(self, request: Request) -> object:
        _found(self.clusters, request)
        del self.clusters[request.groups[1]]
        return self._done(request.groups[0], "", {})

    def _submit(self, request: Request) -> object:
        job = dataproc.SubmitJobRequest.from_json(request.body).job
        cluster = self.clusters[job.placement.cluster_name]
        job.reference.job_id = f"job-{next(self.ids)}"
        job.placement.cluster_uuid = f"uuid-of-{cluster.cluster_name}"
        job.status = dataproc.JobStatus(state=dataproc.JobStatus.State.PENDING, state_start_time=_BEGAN)
        self.jobs[job.reference.job_id] = job
        return _json(job)

    def _make_batch(self, request: Request) -> object:
        batch = dataproc.Batch.from_json(request.body)
        name = request.query.get("batchId") or f"batch-{next(self.ids)}"
        region = request.groups[0].replace("/locations/", "/regions/")
        batch.name = f"{request.groups[0]}/batches/{name}"
        batch.operation = f"{region}/operations/of-{name}"
        batch.state = dataproc.Batch.State(dataproc.Batch.State.PENDING)
        batch.create_time = _BEGAN
        self.batches[name] = batch
        content = {"@type": f"{_TYPES}.BatchOperationMetadata", "batch": batch.name}
        return {"name": batch.operation, "metadata": content, "done": False}

    def _cancel(self, request: Request) -> object:
        batch = self.batches[request.groups[1].removeprefix("of-")]
        batch.state = dataproc.Batch.State(dataproc.Batch.State.CANCELLING)
        return {}

    def _get_batch(self, request: Request) -> object:
        batch, states = _found(self.batches, request), dataproc.Batch.State
        if batch.state == states.CANCELLING:
            self.looks -= 1
            if self.looks < 0:
                batch.state, batch.state_time = states(states.CANCELLED), _BEGAN
        return _json(batch)

    def _machines(self, request: Request) -> object:
        (kind,) = request.groups
        label, _, value = request.query["filter"].removeprefix("labels.").partition("=")
        found = [thing for thing in self.machines[kind] if thing["labels"].get(label) == value]
        return {"items": {"zones/europe-west9-a": {kind: found}, "zones/europe-west9-b": {"warning": {}}}}

    def _done(self, region: str, kind: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """An operation that is over at once."""
        content = f"{_TYPES}.{kind}" if kind else "type.googleapis.com/google.protobuf.Empty"
        response = {"@type": content, **answer}
        return {"name": f"{region}/operations/{next(self.ids)}", "done": True, "response": response}


def _json(message: Any) -> dict[str, Any]:
    content: dict[str, Any] = json_format.MessageToDict(type(message).pb(message))
    return content


def _found(things: Mapping[str, Any], request: Request) -> Any:
    name = request.groups[1]
    if name not in things:
        raise _refused(404, "NOT_FOUND", f"Not found: {name}")
    return things[name]


def _listed(key: str, things: Mapping[str, Any], request: Request) -> object:
    """List what has the labels of the filter, in Dataproc's words: labels.a = b AND labels.c = d."""
    marks = dict(
        mark.strip().removeprefix("labels.").split(" = ") for mark in request.query["filter"].split(" AND ")
    )
    return {key: [_json(thing) for thing in things.values() if marks.items() <= dict(thing.labels).items()]}


def _refused(status: int, word: str, message: str) -> RefusedError:
    return RefusedError(status, {"error": {"code": status, "status": word, "message": message}})
