"""The policies for whole organizations: nothing outside the European Union."""

from __future__ import annotations

import json
import re

import pytest

from tests.cloud.aws import iam_simulate
from tests.cloud.aws.iam_simulate import ACCOUNT, Request
from verger.cloud.deploy.terraform import infra_folder
from verger.cloud.regions import EU_REGIONS

POLICIES = infra_folder("policies")
SCP = json.loads((POLICIES / "aws-scp.json").read_text())
EU = list(EU_REGIONS["aws"])
ELSEWHERE = ["us-east-1", "eu-west-2", "eu-central-2", "ap-south-1"]


def test_all_lists_of_regions_are_the_same() -> None:
    [statement] = SCP["Statement"]
    assert statement["Condition"]["StringNotEquals"]["aws:RequestedRegion"] == sorted(EU)

    locations = (POLICIES / "gcp-resource-locations.yaml").read_text()
    listed = re.findall(r"- in:(\S+)-locations", locations)
    assert listed == sorted(EU_REGIONS["gcp"])

    variables = (infra_folder("aws") / "variables.tf").read_text()
    allowed = re.search(r"contains\(\s*\[([^\]]*)\], var\.region", variables)
    assert allowed and re.findall(r'"([^"]+)"', allowed.group(1)) == sorted(EU)
    match = re.search(r"Allowed: ([^.]*)\.", variables)
    assert match and match.group(1).split(", ") == sorted(EU), "the error names the same"


def test_the_scp_fits_into_what_aws_takes() -> None:
    # docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html: 5,120 characters.
    assert len((POLICIES / "aws-scp.json").read_text()) < 5120


@pytest.mark.cloud
@pytest.mark.skipif(not iam_simulate.can_be_had(), reason="the simulator comes by npm, which this machine has not")
def test_the_scp_lets_only_the_eu_pass() -> None:
    regional = [request for region in [*EU, *ELSEWHERE] for request in _makings(region)]
    decided = iam_simulate.is_allowed(regional, guard=SCP)
    wrong = [request for request, passes in decided.items() if request.known and passes != (request.known[1] in EU)]
    assert not wrong

    # Global services answer in Virginia, whoever asks: without them nobody could even log in.
    everywhere = ("aws:RequestedRegion", "us-east-1")
    global_ones = [
        Request("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/orchard", everywhere),
        Request("sts:GetCallerIdentity", "*", everywhere),
        Request("budgets:ModifyBudget", f"arn:aws:budgets::{ACCOUNT}:budget/verger", everywhere),
        Request("s3:ListAllMyBuckets", "*", everywhere),
    ]
    assert all(iam_simulate.is_allowed(global_ones, guard=SCP).values())


def _makings(region: str) -> list[Request]:
    where = ("aws:RequestedRegion", region)
    return [
        Request("ec2:RunInstances", f"arn:aws:ec2:{region}:{ACCOUNT}:instance/*", where),
        Request("elasticmapreduce:RunJobFlow", "*", where),
        Request("s3:CreateBucket", "arn:aws:s3:::orchard-1", where),
    ]
