"""Jobs on EMR's clusters: each is a step, `spark-submit` on the primary machine."""

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
    """Add a step to the cluster; where it fails, the next ones run all the same."""
    emr = client("emr", spec.region)
    with translated_errors():
        state, told = _state(emr, stack)
        if state not in LIVING:
            raise CloudError(f"{told}: `verger cloud up --name {spec.name}` starts it anew, on the same bucket")
        step = {
            "Name": f"verger {job.command}",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": _words(spec, stack, job)},
        }
        return str(emr.add_job_flow_steps(JobFlowId=stack.cluster_id, Steps=[step])["StepIds"][0])


def status(spec: DeploymentSpec, stack: Stack) -> DeploymentStatus:
    """Return the cluster's state and its steps; one that has ended by itself, idle, is nothing to worry about."""
    if stack.cluster_id is None:
        return DeploymentStatus(_NO_CLUSTER, is_billable=False)
    emr = client("emr", spec.region)
    with translated_errors():
        state, told = _state(emr, stack)
        pages = emr.get_paginator("list_steps").paginate(ClusterId=stack.cluster_id)
        steps = [step for page in pages for step in page["Steps"]]
    return DeploymentStatus(told, state in (*LIVING, "TERMINATING"), tuple(map(_job, steps)))


def active_jobs(spec: DeploymentSpec, cluster_id: str) -> list[str]:
    """Return the steps that wait or run; none where the cluster has ended."""
    emr = client("emr", spec.region)
    with translated_errors():
        living = emr.get_paginator("list_clusters").paginate(ClusterStates=list(LIVING))
        if cluster_id not in {found["Id"] for page in living for found in page["Clusters"]}:
            return []
        pages = emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        steps = [_job(step) for page in pages for step in page["Steps"]]
    return [step.id for step in steps if step.state in ACTIVE_STATES]


def resize(spec: DeploymentSpec, cluster_id: str, say: Say) -> None:
    """Bring a cluster to the workers that are wanted: Terraform leaves their number to managed scaling."""
    emr = client("emr", spec.region)
    with translated_errors():
        pages = emr.get_paginator("list_instance_fleets").paginate(ClusterId=cluster_id)
        fleets = [fleet for page in pages for fleet in page["InstanceFleets"]]
        core = next(fleet for fleet in fleets if fleet["InstanceFleetType"] == "CORE")
        if core["TargetOnDemandCapacity"] != spec.shape.workers:
            say(f"{spec.shape.workers} workers in the place of {core['TargetOnDemandCapacity']}")
            changed = {"InstanceFleetId": core["Id"], "TargetOnDemandCapacity": spec.shape.workers}
            emr.modify_instance_fleet(ClusterId=cluster_id, InstanceFleet=changed)


def log_folders(stack: Stack, job_id: str) -> Iterator[str]:
    """Yield where the lines of a step may lie: it may be one of an earlier cluster of this deployment."""
    from verger.storage.objects import object_path

    logs = object_path(stack.log_uri)
    assert logs is not None
    yield f"{stack.log_uri.rstrip('/')}/{stack.cluster_id}/steps/{job_id}"
    for cluster in logs.iterdir():
        if cluster.name != stack.cluster_id:
            yield f"{cluster}/steps/{job_id}"


def _words(spec: DeploymentSpec, stack: Stack, job: JobSpec) -> list[str]:
    main = f"{stack.package_uri.rstrip('/')}/main.py"
    # Python asks the bucket beside Spark, and no machine's environment says where that is.
    conf = ["--conf", f"spark.executorEnv.AWS_REGION={spec.region}"]
    return ["spark-submit", "--deploy-mode", "client", *conf, main, job.command, job.src, job.out, *job.flags]


def _state(emr: Any, stack: Stack) -> tuple[str, str]:
    """Return the cluster's state, and the same in words."""
    if stack.cluster_id is None:
        return "NONE", _NO_CLUSTER
    found = emr.describe_cluster(ClusterId=stack.cluster_id)["Cluster"]["Status"]
    why = found.get("StateChangeReason", {}).get("Message") or ""
    state = str(found["State"])
    return state, f"cluster {stack.cluster_id} is {state}{f' ({why})' if why else ''}"


def _job(step: dict[str, Any]) -> JobStatus:
    found = step["Status"]
    times = found.get("Timeline", {})
    failure = found.get("FailureDetails", {})
    told = failure.get("Message") or failure.get("Reason") or found.get("StateChangeReason", {}).get("Message")
    state = _JOB_STATES.get(found["State"], found["State"].lower())
    return JobStatus(step["Id"], state, told or "", _time(times, "StartDateTime"), _time(times, "EndDateTime"))


def _time(times: dict[str, Any], name: str) -> str:
    moment = times.get(name)
    return moment.strftime("%Y-%m-%d %H:%M") if isinstance(moment, datetime) else ""
