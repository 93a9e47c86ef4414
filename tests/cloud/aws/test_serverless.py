"""Jobs on EMR Serverless: an application on moto's server, and a state of Terraform that knows of it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cloud.aws.iam_simulate import ACCOUNT
from tests.cloud.aws.moto_server import serving
from tests.cloud.aws.states import note_outputs
from verger.cloud.aws import Aws, serverless
from verger.cloud.aws.clients import client
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.cloud.deploy.terraform import Terraform, terraform_of
from verger.errors import CloudError

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

REGION = "eu-west-3"
BUCKET = "orchard-1"
SPEC = DeploymentSpec("orchard", "aws", REGION, "serverless", Shape(2, "m5.xlarge", "m5.xlarge"))
JOB = JobSpec("run", "raw/", "results/first", ("--components", "2"))


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[Any]:
    client.cache_clear()
    with serving():
        place = {"LocationConstraint": REGION}
        boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield boto3.client("emr-serverless", region_name=REGION)
    client.cache_clear()


@pytest.fixture
def application(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VERGER_STATE", str(tmp_path))
    made = service.create_application(name="orchard", releaseLabel="emr-7.13.0", type="spark", clientToken="once")
    note_outputs(SPEC, BUCKET, application_id=made["applicationId"])
    return str(made["applicationId"])


def run_of(application: str, job: str) -> Any:
    """Return the job as moto keeps it."""
    from moto.emrserverless.models import emrserverless_backends

    return emrserverless_backends[ACCOUNT][REGION].get_job_run(application, job)


def test_a_job_runs_the_image_s_verger_with_the_image_s_python(service: Any, application: str) -> None:
    job = Aws().submit(SPEC, JOB)
    run = service.get_job_run(applicationId=application, jobRunId=job)["jobRun"]
    submitted = run["jobDriver"]["sparkSubmit"]
    assert submitted["entryPoint"] == "local:///opt/verger/main.py"
    assert submitted["entryPointArguments"] == [
        "run", f"s3://{BUCKET}/raw", f"s3://{BUCKET}/results/first", "--components", "2",
    ]  # fmt: skip
    python = "/opt/verger/bin/python"
    assert submitted["sparkSubmitParameters"].split("--conf ")[1:] == [
        f"spark.pyspark.python={python} ",
        f"spark.emr-serverless.driverEnv.PYSPARK_PYTHON={python} ",
        f"spark.executorEnv.PYSPARK_PYTHON={python} ",
        f"spark.executorEnv.AWS_REGION={REGION}",
    ]
    assert run["executionRole"].endswith("role/orchard-job")
    assert run_of(application, job).execution_timeout_minutes == SPEC.max_hours * 60


def test_status_and_logs_follow_a_job(application: str) -> None:
    before = Aws().status(SPEC)
    assert before.jobs == () and before.data_uri == f"s3://{BUCKET}" and "6.91 EUR a month" in before.standing_cost
    job = Aws().submit(SPEC, JOB)
    for state, expected, is_billable in (("SCHEDULED", "waiting", True), ("RUNNING", "running", True)):
        run_of(application, job).state = state
        found = Aws().status(SPEC)
        assert (found.jobs[0].id, found.jobs[0].state, found.is_billable) == (job, expected, is_billable)
    with pytest.raises(CloudError, match=f"job {job} has no log lines yet"):
        list(Aws().logs(SPEC, job))

    run_of(application, job).state = "SUCCESS"
    key = f"logs/applications/{application}/jobs/{job}/SPARK_DRIVER/stdout.gz"
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(b"12 photos\n"))
    found = Aws().status(SPEC)
    assert found.jobs[0].state == "done" and not found.is_billable
    assert list(Aws().logs(SPEC, job)) == ["-- stdout --", "12 photos"]


def test_an_application_at_work_is_stopped_before_it_is_removed(service: Any, application: str) -> None:
    first, second = Aws().submit(SPEC, JOB), Aws().submit(SPEC, JOB)
    run_of(application, first).state = "RUNNING"
    with pytest.raises(service.exceptions.ValidationException, match="CREATED, STOPPED"):
        service.delete_application(applicationId=application)

    serverless.stop(SPEC, application, lambda line: None)
    assert {job.id: job.state for job in Aws().status(SPEC).jobs} == {first: "stopped", second: "done"}
    service.delete_application(applicationId=application)
    serverless.stop(SPEC, application, lambda line: None)
    serverless.stop(SPEC, "of-another-account", lambda line: None)


def test_an_application_is_changed_when_it_is_stopped(
    service: Any, application: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> str:
        return str(service.get_application(applicationId=application)["application"]["state"])

    applied: list[str] = []
    monkeypatch.setattr(Terraform, "_init", lambda _: None)
    monkeypatch.setattr(Terraform, "apply", lambda *_: applied.append(state()))
    longer = replace(SPEC, idle_minutes=60, image="verger:1")
    job = Aws().submit(SPEC, JOB)
    run_of(application, job).state = "RUNNING"
    for change in (Aws().check, lambda spec: Aws().up(spec, tmp_path, lambda line: None)):
        with pytest.raises(CloudError, match=f"job {job} is running on machines that this command may change"):
            change(longer)
    assert state() == "STARTED" and not applied

    run_of(application, job).state = "SUCCESS"
    Aws().up(longer, tmp_path, lambda line: None)
    assert applied == ["STOPPED"]
    assert terraform_of(longer).variables()["package_dir"] is None, "its image has verger"


def test_without_an_application_nothing_is_started() -> None:
    stack = Stack(BUCKET, "key", "role", f"s3://{BUCKET}/logs/", f"s3://{BUCKET}/packages/", "vpc-1")
    with pytest.raises(CloudError, match="`verger cloud up --name orchard` creates one"):
        serverless.submit(SPEC, stack, JOB)
    assert not serverless.status(SPEC, stack).is_billable


@pytest.mark.usefixtures("application")
def test_down_says_that_the_image_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terraform, "_init", lambda _: None)
    monkeypatch.setattr(Terraform, "addresses", lambda _: ["aws_kms_key.data"])
    monkeypatch.setattr(Terraform, "destroy", lambda *_: None)
    monkeypatch.setattr("verger.cloud.aws.find_leftovers", lambda spec: [])
    said: list[str] = []
    assert Aws().down(replace(SPEC, image="orchard/verger:1"), said.append, keep_data=False) == []
    assert any("orchard/verger:1 still costs money" in line for line in said), said
