"""Jobs on EMR clusters: each job is a step that runs `spark-submit` on the primary machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from verger.cloud.aws.clients import client, translated_errors
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import ACTIVE_STATES, DeploymentSpec, DeploymentStatus, JobSpec, JobStatus, Say
from verger.errors import CloudError

_NO_CLUSTER = "there is no cluster, only the bucket and its key"
LIVING = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
_JOB_STATES = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "CANCEL_PENDING": "stopped",
    "CANCELLED": "stopped",
    "INTERRUPTED": "stopped",
}


def submit(spec: DeploymentSpec, stack: Stack, job: JobSpec) -> str:
    """Add a step to the cluster and return the step's id; if the step fails, later steps still run."""
    emr = client("emr", spec.region)
    with translated_errors():
        state, description = _state(emr, stack)
        if state not in LIVING:
            raise CloudError(
                f"{description}: `verger cloud up --name {spec.name}` starts a new one with the same bucket"
            )
        step = {
            "Name": f"verger {job.command}",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": _arguments(spec, stack, job)},
        }
        return str(emr.add_job_flow_steps(JobFlowId=stack.cluster_id, Steps=[step])["StepIds"][0])


def status(spec: DeploymentSpec, stack: Stack) -> DeploymentStatus:
    """Return the state of the cluster and its steps, the newest step first."""
    if stack.cluster_id is None:
        return DeploymentStatus(_NO_CLUSTER, is_billable=False)
    emr = client("emr", spec.region)
    with translated_errors():
        state, description = _state(emr, stack)
        pages = emr.get_paginator("list_steps").paginate(ClusterId=stack.cluster_id)
        steps = [step for page in pages for step in page["Steps"]]
    return DeploymentStatus(description, state in (*LIVING, "TERMINATING"), tuple(map(_job, steps)))


def active_jobs(spec: DeploymentSpec, cluster_id: str) -> list[str]:
    """Return the ids of waiting and running steps; an empty list if the cluster has ended."""
    emr = client("emr", spec.region)
    with translated_errors():
        living = emr.get_paginator("list_clusters").paginate(ClusterStates=list(LIVING))
        if cluster_id not in {cluster["Id"] for page in living for cluster in page["Clusters"]}:
            return []
        pages = emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        steps = [_job(step) for page in pages for step in page["Steps"]]
    return [step.id for step in steps if step.state in ACTIVE_STATES]


def resize(spec: DeploymentSpec, cluster_id: str, say: Say) -> None:
    """Set the number of workers of a cluster. Terraform ignores this number, because managed scaling changes it."""
    emr = client("emr", spec.region)
    with translated_errors():
        pages = emr.get_paginator("list_instance_fleets").paginate(ClusterId=cluster_id)
        fleets = [fleet for page in pages for fleet in page["InstanceFleets"]]
        core = next(fleet for fleet in fleets if fleet["InstanceFleetType"] == "CORE")
        if core["TargetOnDemandCapacity"] != spec.shape.workers:
            say(f"{spec.shape.workers} workers instead of {core['TargetOnDemandCapacity']}")
            changed = {"InstanceFleetId": core["Id"], "TargetOnDemandCapacity": spec.shape.workers}
            emr.modify_instance_fleet(ClusterId=cluster_id, InstanceFleet=changed)


def log_folders(stack: Stack, job_id: str) -> Iterator[str]:
    """Yield the folders that may have a step's log; an earlier cluster of the deployment may have run the step."""
    from verger.storage.objects import object_path

    logs = object_path(stack.log_uri)
    assert logs is not None
    yield f"{stack.log_uri.rstrip('/')}/{stack.cluster_id}/steps/{job_id}"
    for cluster in logs.iterdir():
        if cluster.name != stack.cluster_id:
            yield f"{cluster}/steps/{job_id}"


def _arguments(spec: DeploymentSpec, stack: Stack, job: JobSpec) -> list[str]:
    main = f"{stack.package_uri.rstrip('/')}/main.py"
    # The Python workers read the bucket without Spark, but the environment of the machines does not set the region.
    conf = ["--conf", f"spark.executorEnv.AWS_REGION={spec.region}"]
    return ["spark-submit", "--deploy-mode", "client", *conf, main, job.command, job.src, job.out, *job.flags]


def _state(emr: Any, stack: Stack) -> tuple[str, str]:
    """Return the cluster's state and a description of it."""
    if stack.cluster_id is None:
        return "NONE", _NO_CLUSTER
    status = emr.describe_cluster(ClusterId=stack.cluster_id)["Cluster"]["Status"]
    reason = status.get("StateChangeReason", {}).get("Message") or ""
    state = str(status["State"])
    return state, f"cluster {stack.cluster_id} is {state}{f' ({reason})' if reason else ''}"


def _job(step: dict[str, Any]) -> JobStatus:
    status = step["Status"]
    times = status.get("Timeline", {})
    failure = status.get("FailureDetails", {})
    detail = failure.get("Message") or failure.get("Reason") or status.get("StateChangeReason", {}).get("Message")
    state = _JOB_STATES.get(status["State"], status["State"].lower())
    return JobStatus(step["Id"], state, detail or "", _time(times, "StartDateTime"), _time(times, "EndDateTime"))


def _time(times: dict[str, Any], name: str) -> str:
    moment = times.get(name)
    return moment.strftime("%Y-%m-%d %H:%M") if isinstance(moment, datetime) else ""
