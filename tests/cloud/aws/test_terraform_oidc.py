"""infra/aws-oidc: the workflows of one repository and one environment may write a package, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.cloud.aws import moto_server
from verger.cloud.deploy.terraform import Terraform, infra_folder
from verger.cloud.regions import EU_REGIONS
from verger.errors import CloudError

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

GIVEN = {
    "repository": "fruits/verger",
    "bucket": "orchard-data",
    "kms_key_arn": "arn:aws:kms:eu-west-3:123456789012:key/11111111-2222-3333-4444-555555555555",
}


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    with moto_server.serving() as endpoint:
        here = Terraform(tmp_path_factory.mktemp("oidc"))
        here.prepare(infra_folder("aws-oidc"), GIVEN, moto_server.provider(endpoint))
        yield here


def test_a_trust_in_strangers_is_refused(terraform: Terraform) -> None:
    file = terraform.folder / "terraform.tfvars.json"
    file.write_text(json.dumps(GIVEN | {"region": "eu-west-2", "repository": "fruits/*", "environment": "*"}))
    try:
        with pytest.raises(CloudError) as refused:
            terraform.plan()
    finally:
        file.write_text(json.dumps(GIVEN))
    for words in ("not in the European Union", "one, without a pattern", "one name, without a pattern"):
        assert words in str(refused.value)


def test_its_regions_are_those_of_verger() -> None:
    text = (infra_folder("aws-oidc") / "variables.tf").read_text()
    listed = re.search(r"contains\(\s*(\[.*\]), var.region", text)
    assert listed and sorted(json.loads(listed.group(1))) == sorted(EU_REGIONS["aws"])


def test_the_role_is_for_one_environment_and_one_folder(terraform: Terraform) -> None:
    terraform.apply(lambda line: None)
    iam = boto3.client("iam")
    (trusted,) = trust(iam)["Statement"]
    assert trusted["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trusted["Principal"]["Federated"].endswith(":oidc-provider/token.actions.githubusercontent.com")
    assert trusted["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:fruits/verger:environment:deploy",
        }
    }
    allowed = iam.get_role_policy(RoleName="verger-deploy", PolicyName="package")["PolicyDocument"]["Statement"]
    assert {resource for statement in allowed for resource in many(statement["Resource"])} == {
        "arn:aws:s3:::orchard-data",
        "arn:aws:s3:::orchard-data/packages/*",
        GIVEN["kms_key_arn"],
    }
    assert not any("*" in action for statement in allowed for action in many(statement["Action"]))
    assert iam.list_attached_role_policies(RoleName="verger-deploy")["AttachedPolicies"] == []
    assert terraform.output() == {"role_arn": "arn:aws:iam::123456789012:role/verger-deploy"}


def trust(iam: Any) -> dict[str, Any]:
    document: dict[str, Any] = iam.get_role(RoleName="verger-deploy")["Role"]["AssumeRolePolicyDocument"]
    return document


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
