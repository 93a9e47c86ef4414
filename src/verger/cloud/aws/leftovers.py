"""Search for resources that still exist after `down` and cost money. AWS is queried, not Terraform's state.

Every resource of a deployment has two tags, and EMR gives the same tags to its machines and disks. AWS has a list
of all tagged resources, but updates it only after minutes. Therefore resources that cost by the hour are requested
from each service, all other kinds are read from the list. Free resources (such as roles and networks) do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from verger.cloud.aws.clients import client, code_of, translated_errors
from verger.cloud.aws.emr import LIVING
from verger.cloud.deploy.provider import DeploymentSpec, Leftover

PROJECT = "verger"

# Services whose resources are free, or are found by a function below.
_SKIPPED_SERVICES = ("budgets", "ec2", "elasticmapreduce", "emr-serverless", "events", "iam", "scheduler", "sns")
_GONE = ("deleted", "deleting", "failed")


def find_leftovers(spec: DeploymentSpec) -> list[Leftover]:
    """Return the resources that have this deployment's tags and cost money."""
    with translated_errors():
        listed = [leftover for search in _SEARCHES for leftover in search(spec)]
        ids = {leftover.id for leftover in listed}
        return listed + [tagged for tagged in _tagged(spec) if not any(id in tagged.id for id in ids)]


def _instances(spec: DeploymentSpec) -> Iterator[Leftover]:
    states = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    for page in _pages(spec, "ec2", "describe_instances", Filters=[*_filters(spec), states]):
        for reservation in page["Reservations"]:
            yield from (Leftover("machine", instance["InstanceId"]) for instance in reservation["Instances"])


def _volumes(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_volumes", Filters=_filters(spec)):
        yield from (
            Leftover("disk", volume["VolumeId"]) for volume in page["Volumes"] if volume["State"] != "deleting"
        )


def _endpoints(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_vpc_endpoints", Filters=_filters(spec)):
        for endpoint in page["VpcEndpoints"]:
            if endpoint.get("VpcEndpointType") == "Interface" and endpoint.get("State", "").lower() not in _GONE:
                yield Leftover("interface endpoint", endpoint["VpcEndpointId"])


def _gateways(spec: DeploymentSpec) -> Iterator[Leftover]:
    for page in _pages(spec, "ec2", "describe_nat_gateways", Filters=_filters(spec)):
        for gateway in page["NatGateways"]:
            if gateway["State"] not in _GONE:
                yield Leftover("NAT gateway", gateway["NatGatewayId"])


def _addresses(spec: DeploymentSpec) -> Iterator[Leftover]:
    ec2 = client("ec2", spec.region)
    for address in ec2.describe_addresses(Filters=_filters(spec))["Addresses"]:
        yield Leftover("public address", address["AllocationId"])


def _clusters(spec: DeploymentSpec) -> Iterator[Leftover]:
    emr = client("emr", spec.region)
    for page in emr.get_paginator("list_clusters").paginate(ClusterStates=list(LIVING)):
        for cluster in page["Clusters"]:
            tags = emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"].get("Tags", [])
            if _is_ours(spec, {tag["Key"]: tag["Value"] for tag in tags}):
                yield Leftover("EMR cluster", cluster["Id"])


def _applications(spec: DeploymentSpec) -> Iterator[Leftover]:
    serverless = client("emr-serverless", spec.region)
    for page in serverless.get_paginator("list_applications").paginate():
        for application in page["applications"]:
            details = serverless.get_application(applicationId=application["id"])["application"]
            if application["state"] != "TERMINATED" and _is_ours(spec, details.get("tags", {})):
                yield Leftover("EMR Serverless application", application["id"])


_SEARCHES: tuple[Callable[[DeploymentSpec], Iterator[Leftover]], ...] = (
    _instances,
    _volumes,
    _endpoints,
    _gateways,
    _addresses,
    _clusters,
    _applications,
)


def _tagged(spec: DeploymentSpec) -> Iterator[Leftover]:
    """Yield the resources of other services from AWS's list of tagged resources, if they still cost money."""
    tags = [{"Key": tag["Name"].removeprefix("tag:"), "Values": tag["Values"]} for tag in _filters(spec)]
    for page in _pages(spec, "resourcegroupstaggingapi", "get_resources", TagFilters=tags):
        for resource in page["ResourceTagMappingList"]:
            arn = resource["ResourceARN"]
            service = arn.split(":")[2]
            if service not in _SKIPPED_SERVICES and not _is_gone(spec, service, arn):
                yield Leftover({"s3": "bucket", "kms": "key"}.get(service, service), arn)


def _is_gone(spec: DeploymentSpec, service: str, arn: str) -> bool:
    """Return whether a tagged bucket or key no longer exists, or the key waits for its deletion, which is free."""
    name = arn.rpartition(":")[2]
    try:
        if service == "s3":
            client("s3", spec.region).head_bucket(Bucket=name)
        elif service == "kms":
            key = client("kms", spec.region).describe_key(KeyId=arn)["KeyMetadata"]
            return bool(key["KeyState"] == "PendingDeletion")
    except client(service, spec.region).exceptions.ClientError as error:
        return code_of(error) in ("404", "NoSuchBucket", "NotFound", "NotFoundException")
    return False


def _is_ours(spec: DeploymentSpec, tags: dict[str, str]) -> bool:
    return tags.get("project") == PROJECT and tags.get("deployment") == spec.name


def _filters(spec: DeploymentSpec) -> list[dict[str, Any]]:
    tags = {"project": PROJECT, "deployment": spec.name}
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _pages(spec: DeploymentSpec, service: str, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    yield from client(service, spec.region).get_paginator(operation).paginate(**parameters)
