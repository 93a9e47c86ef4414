"""infra/aws: made by Terraform on moto's server, seen not to change again, and removed to the last thing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cloud.aws import iam_simulate, moto_server
from tests.cloud.aws.iam_simulate import ACCOUNT, Request
from verger.cloud.aws import Aws
from verger.cloud.aws.clients import client
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.cloud.deploy.terraform import Terraform, infra_folder, terraform_of

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

MODULE = infra_folder("aws")
REGION = "eu-west-3"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/verger:0.1.0"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    client.cache_clear()
    with moto_server.serving() as endpoint:
        yield endpoint
    client.cache_clear()


def test_terraform_s_own_tests_pass(tmp_path: Path) -> None:
    spec = tmp_path / "aws"
    shutil.copytree(MODULE, spec, ignore=shutil.ignore_patterns(".terraform*"))
    Terraform(spec).prepare(MODULE, {"name": "orchard"})
    (spec / "terraform.tfvars.json").unlink()
    done = subprocess.run(["terraform", "test", "-no-color"], cwd=spec, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Success! 14 passed" in done.stdout, done.stdout + done.stderr
    assert _run("terraform", "fmt", "-check", "-recursive", str(MODULE.parent)) == ""


def test_what_is_made_stays_and_goes(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both engines side by side: most of the time is waiting."""
    monkeypatch.setenv("VERGER_STATE", str(tmp_path))
    shape = Shape(1, "m5.xlarge", "m5.xlarge", max_workers=4)
    emr, serverless = (
        DeploymentSpec(f"orchard-{engine}", "aws", REGION, engine, shape) for engine in ("emr", "serverless")
    )
    with ThreadPoolExecutor() as pool:
        cluster = pool.submit(_live, emr, _prepared(emr, tmp_path, endpoint))
        application = pool.submit(_live, serverless, _prepared(serverless, tmp_path, endpoint))
    made, roles = cluster.result()
    assert made["cluster_id"].startswith("j-") and "application_id" not in made, (
        "Terraform tells no output that is null"
    )
    if iam_simulate.can_be_had():
        _check_job(roles["job"], made)
        _check_submitter(roles["submitter"], made)
    made, _ = application.result()
    assert made["application_id"] and "cluster_id" not in made
    _check_nothing_is_left()


def _prepared(spec: DeploymentSpec, tmp_path: Path, endpoint: str) -> Terraform:
    package = tmp_path / f"package-{spec.engine}"
    (package / "wheels").mkdir(parents=True)
    for name in ("bootstrap.sh", "main.py", "verger.ipynb", "wheels/verger.whl"):
        (package / name).write_text(f"# {name}\n")
    terraform = terraform_of(spec)
    variables = {
        "name": spec.name,
        "engine": spec.engine,
        "package_dir": str(package),
        "max_workers": 4,
        "email": "orchard@example.eu",
        "image": IMAGE if spec.engine == "serverless" else None,
        "notebook": True,
        "force_destroy": True,
    }
    terraform.prepare(MODULE, variables, moto_server.provider(endpoint))
    return terraform


def _live(spec: DeploymentSpec, terraform: Terraform) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Make it, ask whether it would change, use and remove it; return its outputs, and what its roles may do."""
    terraform.apply(lambda line: None)
    made = terraform.output()
    plan = terraform.plan()
    changed = [each["address"] for each in plan["resource_changes"] if each["change"]["actions"] != ["no-op"]]
    assert not changed, "a second plan changes nothing"
    _check_tags(plan, spec)
    _check_bucket(made["bucket"], has_notebook=spec.engine == "emr")
    roles = {name: _policies(made[f"{name}_role_arn"]) for name in ("job", "submitter")}
    boto3.client("s3").put_object(Bucket=made["bucket"], Key="raw/apple.jpg", Body=b"a photo")
    job = Aws().submit(spec, JobSpec("run", "raw/", "results/first"))
    assert [job_status.id for job_status in Aws().status(spec).jobs] == [job]
    shutil.rmtree(terraform.variables()["package_dir"])  # nobody keeps it until `down`
    assert Aws().down(spec, lambda line: None, keep_data=False) == [], "a job has been there, and nothing is left"
    assert terraform.addresses() == []
    return made, roles


def _check_tags(plan: dict[str, Any], spec: DeploymentSpec) -> None:
    """Everything that can carry tags says whose it is: costs and `down` go by them."""
    resources = plan["prior_state"]["values"]["root_module"]["resources"]
    tags = {each["address"]: each["values"].get("tags_all") for each in resources if "tags_all" in each["values"]}
    expected = {"project": "verger", "deployment": spec.name}
    assert len(tags) > 20
    assert [address for address, tag in tags.items() if not tag or not expected.items() <= tag.items()] == []


def _check_bucket(bucket: str, *, has_notebook: bool) -> None:
    s3 = boto3.client("s3")
    keys = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    package = {f"packages/{name}" for name in ("bootstrap.sh", "main.py", "verger.ipynb", "wheels/verger.whl")}
    assert keys == {"events/", *package} | ({"jupyter/jovyan/verger.ipynb"} if has_notebook else set())
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert {each["Effect"] for each in policy["Statement"]} == {"Deny"}, "it opens to nobody"


def _policies(role_arn: str) -> list[dict[str, Any]]:
    iam, role = boto3.client("iam"), role_arn.rpartition("/")[2]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]


def _check_job(policies: list[dict[str, Any]], made: dict[str, Any]) -> None:
    ours, other = f"arn:aws:s3:::{made['bucket']}", "arn:aws:s3:::somebody-s"
    allowed = [
        Request("s3:ListBucket", ours),
        Request("s3:GetObject", f"{ours}/raw/apple.jpg"),
        Request("s3:GetObject", f"{ours}/packages/bootstrap.sh"),
        Request("s3:PutObject", f"{ours}/results/features/part-0.parquet"),
        Request("s3:DeleteObject", f"{ours}/results/features/part-0.parquet"),
        Request("s3:PutObject", f"{ours}/logs/j-1/steps/stdout.gz"),
        Request("kms:Decrypt", made["kms_key_arn"]),
    ]
    refused = [
        Request("s3:PutObject", f"{ours}/raw/apple.jpg"),
        Request("s3:DeleteObject", f"{ours}/raw/apple.jpg"),
        Request("s3:PutObject", f"{ours}/packages/bootstrap.sh"),
        Request("s3:DeleteBucket", ours),
        Request("s3:PutBucketPolicy", ours),
        Request("s3:ListBucket", other),
        Request("s3:GetObject", f"{other}/raw/apple.jpg"),
        Request("kms:ScheduleKeyDeletion", made["kms_key_arn"]),
        Request("iam:PassRole", made["job_role_arn"]),
    ]
    _check(policies, allowed, refused)


def _check_submitter(policies: list[dict[str, Any]], made: dict[str, Any]) -> None:
    cluster = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/{made['cluster_id']}"
    ours = ("elasticmapreduce:ResourceTag/deployment", "orchard-emr")
    theirs = ("elasticmapreduce:ResourceTag/deployment", "somebody-s")
    bucket = f"arn:aws:s3:::{made['bucket']}"
    allowed = [
        Request("elasticmapreduce:AddJobFlowSteps", cluster, ours),
        Request("elasticmapreduce:CancelSteps", cluster, ours),
        Request("s3:PutObject", f"{bucket}/raw/apple.jpg"),
        Request("s3:PutObject", f"{bucket}/packages/files/0123456789abcdef/weights.h5"),
        Request("s3:GetObject", f"{bucket}/results/report.html"),
    ]
    refused = [
        Request("elasticmapreduce:AddJobFlowSteps", cluster, theirs),
        Request("elasticmapreduce:AddJobFlowSteps", cluster.replace(REGION, "us-east-1"), ours),
        Request("elasticmapreduce:TerminateJobFlows", cluster, ours),
        Request("elasticmapreduce:RunJobFlow", "*"),
        Request("s3:DeleteBucket", bucket),
        Request("s3:DeleteObject", f"{bucket}/raw/apple.jpg"),
        Request("s3:PutObject", f"{bucket}/packages/main.py"),
        Request("iam:PassRole", made["job_role_arn"]),
    ]
    _check(policies, allowed, refused)


def _check(policies: list[dict[str, Any]], allowed: list[Request], refused: list[Request]) -> None:
    decided = iam_simulate.is_allowed(allowed + refused, policies)
    assert [request for request in allowed if not decided[request]] == []
    assert [request for request in refused if decided[request]] == []


def _check_nothing_is_left() -> None:
    """A key goes after a week, and costs no more; what has ended is told as that for a while."""
    ec2, kms = boto3.client("ec2"), boto3.client("kms")
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    clusters = boto3.client("emr").list_clusters()["Clusters"]
    applications = boto3.client("emr-serverless").list_applications()["applications"]
    left = {
        "buckets": boto3.client("s3").list_buckets()["Buckets"],
        "clusters": [each for each in clusters if each["Status"]["State"] != "TERMINATED"],
        "applications": [each for each in applications if each["state"] != "TERMINATED"],
        "networks": [each for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]],
        "endpoints": [each for each in ec2.describe_vpc_endpoints()["VpcEndpoints"] if each["State"] != "deleted"],
        "keys": [each for each in keys if each["KeyState"] != "PendingDeletion"],
        "roles": boto3.client("iam").list_roles()["Roles"],
        "alarms": boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
        "budgets": boto3.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"],
    }
    assert {kind: found for kind, found in left.items() if found} == {}
    assert len(clusters) == len(applications) == 1 and len(keys) == 2, "they have been there"


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
