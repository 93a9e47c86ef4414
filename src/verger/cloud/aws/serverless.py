"""Jobs on EMR Serverless. Its application exists from `up` to `down`, but costs money only while jobs run.

The workers get verger from a container image (infra/aws/serverless/Dockerfile), not from packages/ in the bucket.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from verger.cloud.aws.clients import client, translated_errors
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import ACTIVE_STATES, DeploymentSpec, DeploymentStatus, JobSpec, JobStatus, Say
from verger.cloud.deploy.terraform import infra_folder
from verger.errors import CloudError

_NO_IMAGE = """\
engine = 'serverless' needs --image: its workers get verger from an image in your own registry. To build this image:
  verger cloud package build/package
  docker build -f {dockerfile} -t {image} build/package
  docker push {image}
then: verger cloud up --engine serverless --image {image}"""

# Paths inside the image.
_MAIN = "local:///opt/verger/main.py"
_PYTHON = "/opt/verger/bin/python"
_JOB_STATES = {
    "SUBMITTED": "waiting",
    "PENDING": "waiting",
    "SCHEDULED": "waiting",
    "QUEUED": "waiting",
    "RUNNING": "running",
    "SUCCESS": "done",
    "FAILED": "failed",
    "CANCELLING": "stopped",
    "CANCELLED": "stopped",
}
_ENDED = ("SUCCESS", "FAILED", "CANCELLED")
_NO_APPLICATION = "there is no application, only the bucket and its key"
_STARTED = ("STARTING", "STARTED")
_NOT_STOPPED = (*_STARTED, "STOPPING")
_TIMEOUT_S, _POLL_S = 600, 5


def check_image(spec: DeploymentSpec) -> None:
    """Raise CloudError if the spec has no image: without an image, no worker could import verger."""
    if spec.image is None:
        image = f"ACCOUNT.dkr.ecr.{spec.region}.amazonaws.com/verger:{version('verger')}"
        dockerfile = infra_folder("aws") / "serverless" / "Dockerfile"
        raise CloudError(_NO_IMAGE.format(dockerfile=dockerfile, image=image))


def submit(spec: DeploymentSpec, stack: Stack, job: JobSpec) -> str:
    """Start a job and return the job's id; this also starts the application.

    AWS stops the job after the deployment's `max_hours`.
    """
    if stack.application_id is None:
        raise CloudError(f"{_NO_APPLICATION}: `verger cloud up --name {spec.name}` creates one")
    serverless = client("emr-serverless", spec.region)
    logs = {"logUri": stack.log_uri, "encryptionKeyArn": stack.kms_key_arn}
    with translated_errors():
        started = serverless.start_job_run(
            applicationId=stack.application_id,
            executionRoleArn=stack.job_role_arn,
            name=f"verger {job.command}",
            executionTimeoutMinutes=spec.max_hours * 60,
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": _MAIN,
                    "entryPointArguments": [job.command, job.src, job.out, *job.flags],
                    "sparkSubmitParameters": _parameters(spec.region),
                }
            },
            configurationOverrides={"monitoringConfiguration": {"s3MonitoringConfiguration": logs}},
            tags={"project": "verger", "deployment": spec.name},
        )
    return str(started["jobRunId"])


def status(spec: DeploymentSpec, stack: Stack) -> DeploymentStatus:
    """Return the state of the application and its jobs, newest first. Only waiting and running jobs cost money."""
    if stack.application_id is None:
        return DeploymentStatus(_NO_APPLICATION, is_billable=False)
    serverless = client("emr-serverless", spec.region)
    with translated_errors():
        state = serverless.get_application(applicationId=stack.application_id)["application"]["state"]
        jobs = _jobs(serverless, stack.application_id)
    is_billable = state in _NOT_STOPPED and any(job.state in ACTIVE_STATES for job in jobs)
    return DeploymentStatus(f"application {stack.application_id} is {state}", is_billable, jobs)


def active_jobs(spec: DeploymentSpec, application_id: str) -> list[str]:
    """Return the ids of waiting and running jobs; an empty list if the application no longer exists."""
    serverless = client("emr-serverless", spec.region)
    with translated_errors():
        try:
            jobs = _jobs(serverless, application_id)
        except serverless.exceptions.ResourceNotFoundException:
            return []
    return [job.id for job in jobs if job.state in ACTIVE_STATES]


def log_folders(stack: Stack, job_id: str) -> Iterator[str]:
    """Yield the folder with the logs of a job's driver."""
    yield f"{stack.log_uri.rstrip('/')}/applications/{stack.application_id}/jobs/{job_id}/SPARK_DRIVER"


def stop(spec: DeploymentSpec, application_id: str, say: Say) -> None:
    """Cancel the jobs of an application and stop it.

    AWS removes only stopped applications, and Terraform cannot stop an application.
    """
    serverless = client("emr-serverless", spec.region)

    def state() -> str:
        try:
            return str(serverless.get_application(applicationId=application_id)["application"]["state"])
        except serverless.exceptions.ResourceNotFoundException:
            return "TERMINATED"

    with translated_errors():
        if state() not in _NOT_STOPPED:
            return
        say(f"stopping application {application_id}")
        for job in _jobs(serverless, application_id):
            if job.state in ACTIVE_STATES:
                serverless.cancel_job_run(applicationId=application_id, jobRunId=job.id)
        _wait(lambda: not _is_busy(serverless, application_id), f"the jobs of application {application_id}")
        if state() in _STARTED:
            serverless.stop_application(applicationId=application_id)
        _wait(lambda: state() not in _NOT_STOPPED, f"application {application_id}")


def _parameters(region: str) -> str:
    """Return spark-submit's parameters: the Python of the image, and the bucket's region for the Python workers."""
    settings = {
        "spark.pyspark.python": _PYTHON,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": _PYTHON,
        "spark.executorEnv.PYSPARK_PYTHON": _PYTHON,
        "spark.executorEnv.AWS_REGION": region,
    }
    return " ".join(f"--conf {key}={value}" for key, value in settings.items())


def _runs(serverless: Any, application_id: str) -> list[dict[str, Any]]:
    pages = serverless.get_paginator("list_job_runs").paginate(applicationId=application_id)
    return [run for page in pages for run in page["jobRuns"]]


def _jobs(serverless: Any, application_id: str) -> tuple[JobStatus, ...]:
    """Return the application's jobs, newest first."""
    runs = sorted(_runs(serverless, application_id), key=lambda run: run["createdAt"], reverse=True)
    return tuple(map(_job, runs))


def _is_busy(serverless: Any, application_id: str) -> bool:
    """Return whether any job has not ended yet; until all have ended, the application cannot be stopped."""
    return any(run["state"] not in _ENDED for run in _runs(serverless, application_id))


def _wait(is_over: Callable[[], bool], what: str) -> None:
    """Wait until `is_over` returns True; boto3 has no waiter for this. Raises CloudError after 10 minutes."""
    for _ in range(_TIMEOUT_S // _POLL_S):
        if is_over():
            return
        time.sleep(_POLL_S)
    raise CloudError(f"{what} did not end within {_TIMEOUT_S // 60} minutes: try again, or check AWS's console")


def _job(run: dict[str, Any]) -> JobStatus:
    began, changed = (run[name].strftime("%Y-%m-%d %H:%M") for name in ("createdAt", "updatedAt"))
    state = _JOB_STATES.get(run["state"], run["state"].lower())
    ended = changed if state in ("done", "failed", "stopped") else ""
    return JobStatus(run["id"], state, run.get("stateDetails") or "", began, ended)
