"""What `verger cloud guard` says where AWS does not answer."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from verger.cloud.aws.guard import guard
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import DeploymentSpec, Finding, Shape
from verger.errors import CloudError

SPEC = DeploymentSpec("orchard", "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge"))
LOUD = replace(SPEC, email="me@example.org")
STACK = Stack("orchard-1", "key", "role", "s3://orchard-1/logs/", "s3://orchard-1/packages", "vpc-1")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Finding]:
    def fail(site: object) -> tuple[bool, str]:
        raise error

    # By its name it is the function, which the package has too.
    monkeypatch.setattr(import_module("verger.cloud.aws.guard"), "_DATA", [("bucket: encryption", fail)])
    return guard(SPEC, STACK)


def test_a_check_that_is_refused_is_a_bad_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied"}}, "GetBucketEncryption")
    (found,) = failing(monkeypatch, refused)
    assert not found.is_ok and "AccessDenied" in found.detail


def test_a_network_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match="AWS cannot be reached"):
        failing(monkeypatch, EndpointConnectionError(endpoint_url="https://s3.eu-west-3.amazonaws.com"))


@pytest.mark.parametrize(
    ("state", "is_ok", "detail"),
    [
        ("arn:aws:sns:eu-west-3:123456789012:verger-orchard:1", True, "go to me@example.org"),
        ("PendingConfirmation", False, "me@example.org has not opened the link in AWS's mail"),
        (None, False, "go to no one"),
    ],
)
def test_alarms_reach_an_address_that_has_opened_the_link(
    monkeypatch: pytest.MonkeyPatch, state: str | None, is_ok: bool, detail: str
) -> None:
    def list_subscriptions_by_topic(TopicArn: str) -> dict[str, list[dict[str, str]]]:  # noqa: N803 (boto3's)
        assert TopicArn == "arn:aws:sns:eu-west-3:123456789012:verger-orchard"
        other = {"Endpoint": "other@example.org", "SubscriptionArn": "arn:aws:sns:other"}
        ours = [{"Endpoint": "me@example.org", "SubscriptionArn": state}] if state else []
        return {"Subscriptions": [other, *ours]}

    module = import_module("verger.cloud.aws.guard")
    aws = SimpleNamespace(
        get_caller_identity=lambda: {"Account": "123456789012"},
        list_subscriptions_by_topic=list_subscriptions_by_topic,
    )
    monkeypatch.setattr(module, "client", lambda service, region: aws)
    monkeypatch.setattr(module, "_DATA", [check for check in module._DATA if check[0] == "alarms"])
    assert guard(LOUD, STACK) == [Finding("alarms", is_ok, detail)]
    (silent,) = guard(SPEC, STACK)
    assert silent.is_ok and "no one" in silent.detail
