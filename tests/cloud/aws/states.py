"""Terraform's state of a deployment that a test has made without Terraform."""

from __future__ import annotations

import json

from tests.cloud.aws.iam_simulate import ACCOUNT
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.terraform import terraform_of


def note_outputs(spec: DeploymentSpec, bucket: str, **engine: str) -> None:
    """Write a state whose outputs are those of infra/aws; `engine`: the id of a cluster or an application."""
    values = {
        "bucket": bucket,
        "kms_key_arn": f"arn:aws:kms:{spec.region}:{ACCOUNT}:key/1",
        "job_role_arn": f"arn:aws:iam::{ACCOUNT}:role/orchard-job",
        "log_uri": f"s3://{bucket}/logs/",
        "package_uri": f"s3://{bucket}/packages/",
        "vpc_id": "vpc-1",
        **engine,
    }
    outputs = {name: {"value": value, "type": "string"} for name, value in values.items()}
    state = {"version": 4, "terraform_version": "1.11.0", "serial": 1, "lineage": "orchard", "outputs": outputs}
    folder = terraform_of(spec).folder
    folder.mkdir(parents=True)
    (folder / "terraform.tfstate").write_text(json.dumps(state | {"resources": []}))
