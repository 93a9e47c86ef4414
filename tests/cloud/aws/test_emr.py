"""What `up` does to a cluster that is there: on moto's server, and a state of Terraform that knows of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cloud.aws.moto_server import serving
from tests.cloud.aws.states import note_outputs
from verger.cloud.aws import Aws
from verger.cloud.aws.clients import client
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.cloud.deploy.terraform import Terraform
from verger.errors import CloudError

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

REGION = "eu-west-3"
SPEC = DeploymentSpec("orchard", "aws", REGION, "emr", Shape(8, "m5.xlarge", "m5.xlarge"))
SMALLER = replace(SPEC, shape=replace(SPEC.shape, workers=1))


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[Any]:
    client.cache_clear()
    with serving():
        yield boto3.client("emr", region_name=REGION)
    client.cache_clear()


@pytest.fixture
def cluster(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A living cluster of HERE; Terraform's own part in `up` is left out."""
    monkeypatch.setenv("VERGER_STATE", str(tmp_path))
    monkeypatch.setattr(Terraform, "_init", lambda _: None)
    monkeypatch.setattr(Terraform, "apply", lambda *_: None)
    machine = {"InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]}
    fleets = [
        {"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, **machine},
        {"InstanceFleetType": "CORE", "TargetOnDemandCapacity": 8, **machine},
    ]
    instances = {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": fleets}
    made = service.run_job_flow(Name="orchard", ReleaseLabel="emr-7.13.0", Instances=instances)["JobFlowId"]
    note_outputs(SPEC, "orchard-1", cluster_id=made)
    Aws().up(SPEC, tmp_path, lambda line: None)
    yield made
    service.terminate_job_flows(JobFlowIds=[made])


def core(service: Any, cluster: str) -> int:
    fleets = service.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    return next(int(each["TargetOnDemandCapacity"]) for each in fleets if each["InstanceFleetType"] == "CORE")


def test_another_number_of_workers_is_asked_for_where_nothing_scales(
    service: Any, cluster: str, tmp_path: Path
) -> None:
    said: list[str] = []
    Aws().up(SMALLER, tmp_path, said.append)
    assert core(service, cluster) == 1 and said == ["1 workers instead of 8"]
    Aws().up(replace(SPEC, shape=replace(SPEC.shape, workers=2, max_workers=4)), tmp_path, said.append)
    assert core(service, cluster) == 1, "what scales is left to managed scaling"


def test_machines_that_a_job_runs_on_stay(service: Any, cluster: str, tmp_path: Path) -> None:
    job = Aws().submit(SPEC, JobSpec("run", "raw/", "results/first"))
    changes = ({"engine": "serverless", "image": "verger:1"}, {"notebook": True}, {"shape": SMALLER.shape})
    for change in changes:
        with pytest.raises(CloudError, match=f"job {job} is running on machines that this command may change"):
            Aws().check(replace(SPEC, **change))
        with pytest.raises(CloudError, match=f"job {job} is running"):
            Aws().up(replace(SPEC, **change), tmp_path, lambda line: None)
    assert core(service, cluster) == 8
    Aws().check(replace(SPEC, idle_minutes=60, email="me@example.org", budget_eur=50))

    service.terminate_job_flows(JobFlowIds=[cluster])
    Aws().check(SMALLER)


def test_an_up_that_did_not_get_through_says_nothing_of_the_machines_there_are(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is submitted to the old cluster, which the same `up` would replace."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def up(spec: DeploymentSpec) -> None:
        Aws().up(spec, tmp_path, lambda line: None)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Terraform, "_init", interrupted)
        up(SMALLER)
    job = Aws().submit(SPEC, JobSpec("run", "raw/", "results/first"))
    with pytest.raises(CloudError, match=f"job {job} is running"):
        up(SMALLER)
    up(SPEC)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Terraform, "apply", interrupted)
        up(SPEC)
    for spec in (SMALLER, SPEC):
        with pytest.raises(CloudError, match=f"job {job} is running"):
            up(spec)
