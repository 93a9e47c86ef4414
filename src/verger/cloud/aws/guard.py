"""Is what exists as it should be? Each check asks AWS itself, and answers in a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from verger.cloud.aws.clients import client, code_of, translated_errors
from verger.cloud.aws.emr import LIVING
from verger.cloud.aws.leftovers import PROJECT
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import DeploymentSpec, GuardFinding
from verger.cloud.regions import EU_REGIONS

# Those that verger's package is made for: Spark 3.5 and 4.0.
_RELEASES = ("emr-7.", "emr-spark-8.")

Told = tuple[bool, str]
_Checks = list[tuple[str, Callable[["_Site"], Told]]]


@dataclass(frozen=True)
class _Site:
    """What the checks ask: clients of the deployment's region, and what Terraform made there."""

    spec: DeploymentSpec
    stack: Stack

    def ask(self, service: str) -> Any:
        """Return the client of a service."""
        return client(service, self.spec.region)


def guard(spec: DeploymentSpec, stack: Stack) -> list[GuardFinding]:
    """Return a finding for each check; one that AWS does not answer is a bad one."""
    site = _Site(spec, stack)
    checks = [*_DATA]
    if stack.cluster_id is not None:
        checks += _CLUSTER if _is_living(site) else [("cluster", _ended)]
    if stack.application_id is not None:
        checks += _APPLICATION
    with translated_errors():
        return list(_findings(site, checks))


def _findings(site: _Site, checks: _Checks) -> Iterator[GuardFinding]:
    from botocore.exceptions import ClientError

    for name, check in checks:
        try:
            is_ok, told = check(site)
        except ClientError as error:
            is_ok, told = False, f"not set, or not to be seen ({code_of(error)})"
        yield GuardFinding(name, is_ok, told)


def _region(site: _Site) -> Told:
    place = site.ask("s3").get_bucket_location(Bucket=site.stack.bucket)["LocationConstraint"] or "us-east-1"
    region = {"EU": "eu-west-1"}.get(place, place)  # what the oldest buckets of Dublin say
    asked = site.ask("ec2").meta.region_name
    city = EU_REGIONS["aws"].get(region)
    return city is not None and region == site.spec.region == asked, f"{region} ({city or 'not in the EU'})"


def _encryption(site: _Site) -> Told:
    rules = site.ask("s3").get_bucket_encryption(Bucket=site.stack.bucket)["ServerSideEncryptionConfiguration"]
    used = rules["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    key = used.get("KMSMasterKeyID", "")
    is_ours = used["SSEAlgorithm"] == "aws:kms" and key == site.stack.kms_key_arn
    return is_ours, f"{used['SSEAlgorithm']}, {'our own key' if is_ours else key or 'no key of our own'}"


def _rotation(site: _Site) -> Told:
    is_on = site.ask("kms").get_key_rotation_status(KeyId=site.stack.kms_key_arn)["KeyRotationEnabled"]
    return is_on, "every year" if is_on else "off"


def _public_access(site: _Site) -> Told:
    block = site.ask("s3").get_public_access_block(Bucket=site.stack.bucket)["PublicAccessBlockConfiguration"]
    ways = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    open_ways = [name for name in ways if not block.get(name)]
    return not open_ways, "blocked in every way" if not open_ways else f"not set: {', '.join(open_ways)}"


def _tls(site: _Site) -> Told:
    policy = json.loads(site.ask("s3").get_bucket_policy(Bucket=site.stack.bucket)["Policy"])
    conditions = [rule.get("Condition", {}) for rule in policy["Statement"] if rule["Effect"] == "Deny"]
    asked = [condition.get("Bool", {}).get("aws:SecureTransport") for condition in conditions]
    is_denied = any(value in ("false", ["false"]) for value in asked)
    return is_denied, "plain HTTP is denied" if is_denied else "plain HTTP is not denied by the bucket's policy"


def _versioning(site: _Site) -> Told:
    state = site.ask("s3").get_bucket_versioning(Bucket=site.stack.bucket).get("Status", "off")
    return state == "Enabled", str(state).lower()


def _budget(site: _Site) -> Told:
    account = site.ask("sts").get_caller_identity()["Account"]
    found = site.ask("budgets").describe_budgets(AccountId=account).get("Budgets", [])
    ours = [budget["BudgetLimit"] for budget in found if budget["BudgetName"] == f"verger-{site.spec.name}"]
    told = ", ".join(f"{limit['Amount']} {limit['Unit']} a month" for limit in ours)
    return bool(ours), told or "there is none"


def _alerts(site: _Site) -> Told:
    """AWS asks an address once whether it wants the alarms: the link in that mail must have been followed."""
    if site.spec.email is None:
        return True, "go to nobody (up --email)"
    account = site.ask("sts").get_caller_identity()["Account"]
    topic = f"arn:aws:sns:{site.spec.region}:{account}:verger-{site.spec.name}"
    found = site.ask("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    states = [each["SubscriptionArn"] for each in found if each["Endpoint"] == site.spec.email]
    if any(state.startswith("arn:") for state in states):
        return True, f"go to {site.spec.email}"
    return False, f"{site.spec.email} has not followed the link in AWS's mail" if states else "go to nobody"


def _is_living(site: _Site) -> bool:
    with translated_errors():
        return _cluster(site)["Status"]["State"] in LIVING


def _ended(site: _Site) -> Told:
    return True, f"{site.stack.cluster_id} has ended: there are no machines to check"


def _idle_stop(site: _Site) -> Told:
    policy = site.ask("emr").get_auto_termination_policy(ClusterId=site.stack.cluster_id)["AutoTerminationPolicy"]
    minutes = int(policy["IdleTimeout"]) // 60
    return minutes <= site.spec.idle_minutes, f"after {minutes} minutes without work"


def _release(site: _Site) -> Told:
    label = _cluster(site).get("ReleaseLabel", "")
    return label.startswith(_RELEASES), label


def _security(site: _Site) -> dict[str, Any]:
    name = _cluster(site).get("SecurityConfiguration", "")
    told = site.ask("emr").describe_security_configuration(Name=name)["SecurityConfiguration"]
    parsed: dict[str, Any] = json.loads(told)
    return parsed


def _disks(site: _Site) -> Told:
    settings = _security(site).get("EncryptionConfiguration", {})
    is_on = bool(settings.get("EnableAtRestEncryption"))
    return is_on, "encrypted" if is_on else "not encrypted"


def _metadata(site: _Site) -> Told:
    settings = _security(site).get("InstanceMetadataServiceConfiguration", {})
    version = settings.get("MinimumInstanceMetadataServiceVersion", 1)
    return int(version) >= 2, f"version {version} at least"


def _network(site: _Site) -> Told:
    ec2, vpc_ids = site.ask("ec2"), [site.stack.vpc_id]
    attached = [{"Name": "attachment.vpc-id", "Values": vpc_ids}]
    gateways = ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]
    gateways += ec2.describe_nat_gateways(Filters=[{"Name": "vpc-id", "Values": vpc_ids}])["NatGateways"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": vpc_ids}])["Subnets"]
    public = [subnet["SubnetId"] for subnet in subnets if subnet.get("MapPublicIpOnLaunch")]
    ways_out = public + [gateway.get("InternetGatewayId") or gateway["NatGatewayId"] for gateway in gateways]
    told = f"to the internet: {', '.join(ways_out)}" if ways_out else f"{len(subnets)} private subnets"
    return not ways_out and bool(subnets), told


def _firewall(site: _Site) -> Told:
    mine = [{"Name": "vpc-id", "Values": [site.stack.vpc_id]}]
    groups = site.ask("ec2").describe_security_groups(Filters=mine)["SecurityGroups"]
    is_open = [group["GroupId"] for group in groups if any(map(_lets_all_in, group["IpPermissions"]))]
    return (
        not is_open,
        f"open to all: {', '.join(is_open)}" if is_open else f"{len(groups)} groups, none open",
    )


def _lets_all_in(permission: dict[str, Any]) -> bool:
    ranges = [found.get("CidrIp") for found in permission.get("IpRanges", [])]
    ranges += [found.get("CidrIpv6") for found in permission.get("Ipv6Ranges", [])]
    return "0.0.0.0/0" in ranges or "::/0" in ranges


def _tags(site: _Site) -> Told:
    tags = {tag["Key"]: tag["Value"] for tag in _cluster(site).get("Tags", [])}
    return _tell_tags(site, tags)


def _tell_tags(site: _Site, tags: dict[str, str]) -> Told:
    spec = {"project": PROJECT, "deployment": site.spec.name}
    return spec.items() <= tags.items(), ", ".join(f"{key}={tags.get(key, '')}" for key in spec)


def _cluster(site: _Site) -> dict[str, Any]:
    found: dict[str, Any] = site.ask("emr").describe_cluster(ClusterId=site.stack.cluster_id)["Cluster"]
    return found


def _application(site: _Site) -> dict[str, Any]:
    asked = site.ask("emr-serverless").get_application(applicationId=site.stack.application_id)
    found: dict[str, Any] = asked["application"]
    return found


def _auto_stop(site: _Site) -> Told:
    settings = _application(site).get("autoStopConfiguration", {})
    minutes = settings.get("idleTimeoutMinutes", 0)
    is_on = bool(settings.get("enabled")) and minutes <= site.spec.idle_minutes
    return is_on, f"after {minutes} minutes without work" if settings.get("enabled") else "off"


def _capacity(site: _Site) -> Told:
    most = _application(site).get("maximumCapacity")
    return most is not None, f"{most['cpu']}, {most['memory']} at most" if most else "without a limit"


def _application_tags(site: _Site) -> Told:
    return _tell_tags(site, _application(site).get("tags", {}))


def _application_release(site: _Site) -> Told:
    label = _application(site).get("releaseLabel", "")
    return label.startswith(_RELEASES), label


_DATA: _Checks = [
    ("region", _region),
    ("bucket: encryption", _encryption),
    ("key: rotation", _rotation),
    ("bucket: public access", _public_access),
    ("bucket: TLS only", _tls),
    ("bucket: versioning", _versioning),
    ("network: ways out", _network),
    ("network: ways in", _firewall),
    ("budget", _budget),
    ("alarms", _alerts),
]
_CLUSTER: _Checks = [
    ("cluster: ends idle", _idle_stop),
    ("cluster: release", _release),
    ("cluster: disks", _disks),
    ("machines: metadata service", _metadata),
    ("cluster: tags", _tags),
]
_APPLICATION: _Checks = [
    ("application: stops idle", _auto_stop),
    ("application: capacity", _capacity),
    ("application: release", _application_release),
    ("application: tags", _application_tags),
]
