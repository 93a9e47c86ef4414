"""What is still there, and costs, after everything was removed: asked of AWS itself, not of Terraform.

Everything that a deployment makes carries two tags, and EMR hands them on to its machines and their disks. What
costs by the hour is listed service by service, since lists of tags lag behind by minutes; the list of tags then
shows what nobody has thought of. Free things (roles, networks, security groups, topics) are no leftovers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from verger.cloud.aws.clients import client, code_of, translated_errors
from verger.cloud.aws.emr import LIVING
from verger.cloud.deploy.provider import DeploymentSpec, Leftover

PROJECT = "verger"

# Free, or asked for by itself above.
_PASSED_OVER = ("budgets", "ec2", "elasticmapreduce", "emr-serverless", "events", "iam", "scheduler", "sns")
_GONE = ("deleted", "deleting", "failed")


def find_leftovers(spec: DeploymentSpec) -> list[Leftover]:
    """Return what is tagged as this deployment's and costs something."""
    with translated_errors():
        listed = [leftover for look in _LOOKS for leftover in look(spec)]
        known = {leftover.id for leftover in listed}
        return listed + [found for found in _tagged(spec) if not any(id in found.id for id in known)]


def _instances(spec: DeploymentSpec) -> Iterator[Leftover]:
    states = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    for page in _pages(spec, "ec2", "describe_instances", Filters=[*_filters(spec), states]):
        for reservation in page["Reservations"]:
            yield from (Leftover("machine", found["InstanceId"]) for found in reservation["Instances"])


def _volumes(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_volumes", Filters=_filters(spec)):
        yield from (
            Leftover("disk", found["VolumeId"]) for found in page["Volumes"] if found["State"] != "deleting"
        )


def _endpoints(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_vpc_endpoints", Filters=_filters(spec)):
        for found in page["VpcEndpoints"]:
            if found.get("VpcEndpointType") == "Interface" and found.get("State", "").lower() not in _GONE:
                yield Leftover("interface endpoint", found["VpcEndpointId"])


def _gateways(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_nat_gateways", Filters=_filters(spec)):
        for found in page["NatGateways"]:
            if found["State"] not in _GONE:
                yield Leftover("NAT gateway", found["NatGatewayId"])


def _addresses(spec: DeploymentSpec) -> Iterator[Leftover]:
    ec2 = client("ec2", spec.region)
    for found in ec2.describe_addresses(Filters=_filters(spec))["Addresses"]:
        yield Leftover("public address", found["AllocationId"])


def _clusters(spec: DeploymentSpec) -> Iterator[Leftover]:
    emr = client("emr", spec.region)
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(LIVING)):
        for found in page["Clusters"]:
            tags = emr.describe_cluster(ClusterId=found["Id"])["Cluster"].get("Tags", [])
            if _is_ours(spec, {tag["Key"]: tag["Value"] for tag in tags}):
                yield Leftover("EMR cluster", found["Id"])


def _applications(spec: DeploymentSpec) -> Iterator[Leftover]:
    serverless = client("emr-serverless", spec.region)
    for page in serverless.get_paginator("list_applications").paginate():
        for found in page["applications"]:
            about = serverless.get_application(applicationId=found["id"])["application"]
            if found["state"] != "TERMINATED" and _is_ours(spec, about.get("tags", {})):
                yield Leftover("EMR Serverless application", found["id"])


_LOOKS: tuple[Callable[[DeploymentSpec], Iterator[Leftover]], ...] = (
    _instances,
    _volumes,
    _endpoints,
    _gateways,
    _addresses,
    _clusters,
    _applications,
)


def _tagged(spec: DeploymentSpec) -> Iterator[Leftover]:
    """Yield what else the list of tags shows, less what is gone already and only still listed."""
    tags = [{"Key": tag["Name"].removeprefix("tag:"), "Values": tag["Values"]} for tag in _filters(spec)]
    for page in _pages(spec, "resourcegroupstaggingapi", "get_resources", TagFilters=tags):
        for found in page["ResourceTagMappingList"]:
            arn = found["ResourceARN"]
            service = arn.split(":")[2]
            if service not in _PASSED_OVER and not _is_gone(spec, service, arn):
                yield Leftover({"s3": "bucket", "kms": "key"}.get(service, service), arn)


def _is_gone(spec: DeploymentSpec, service: str, arn: str) -> bool:
    """Tell whether a tagged bucket or key costs no more: a key that waits for its deletion is free."""
    name = arn.rpartition(":")[2]
    try:
        if service == "s3":
            client("s3", spec.region).head_bucket(Bucket=name)
        elif service == "kms":
            found = client("kms", spec.region).describe_key(KeyId=arn)["KeyMetadata"]
            return bool(found["KeyState"] == "PendingDeletion")
    except client(service, spec.region).exceptions.ClientError as error:
        return code_of(error) in ("404", "NoSuchBucket", "NotFound", "NotFoundException")
    return False


def _is_ours(spec: DeploymentSpec, tags: dict[str, str]) -> bool:
    return tags.get("project") == PROJECT and tags.get("deployment") == spec.name


def _filters(spec: DeploymentSpec) -> list[dict[str, Any]]:
    tags = {"project": PROJECT, "deployment": spec.name}
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _pages(spec: DeploymentSpec, service: str, operation: str, **asked: Any) -> Iterator[dict[str, Any]]:
    yield from client(service, spec.region).get_paginator(operation).paginate(**asked)
