"""What `verger cloud guard` says where AWS does not answer."""

from __future__ import annotations

from importlib import import_module

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from verger.cloud.aws.guard import guard
from verger.cloud.aws.stack import Stack
from verger.cloud.provider import Deployment, Finding, Shape
from verger.errors import CloudError

HERE = Deployment("orchard", "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge"))
STACK = Stack("orchard-1", "key", "role", "s3://orchard-1/logs/", "s3://orchard-1/packages", "vpc-1")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Finding]:
    def fail(site: object) -> tuple[bool, str]:
        raise error

    # By its name it is the function, which the package has too.
    monkeypatch.setattr(import_module("verger.cloud.aws.guard"), "_DATA", [("bucket: encryption", fail)])
    return guard(HERE, STACK)


def test_a_check_that_is_refused_is_a_bad_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied"}}, "GetBucketEncryption")
    (found,) = failing(monkeypatch, refused)
    assert not found.is_ok and "AccessDenied" in found.told


def test_a_network_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match="AWS cannot be reached"):
        failing(monkeypatch, EndpointConnectionError(endpoint_url="https://s3.eu-west-3.amazonaws.com"))
