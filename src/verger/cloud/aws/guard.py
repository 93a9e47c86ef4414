"""Checks of an existing deployment. Each check reads one setting from AWS and describes it in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from verger.cloud.aws.clients import client, code_of, translated_errors
from verger.cloud.aws.emr import LIVING
from verger.cloud.aws.leftovers import PROJECT
from verger.cloud.aws.stack import Stack
from verger.cloud.deploy.provider import DeploymentSpec, Finding
from verger.cloud.regions import EU_REGIONS

# The EMR releases that verger's package supports: Spark 3.5 and 4.0.
_RELEASES = ("emr-7.", "emr-spark-8.")

# Whether the setting is correct, and a description of the setting.
CheckResult = tuple[bool, str]
_Checks = list[tuple[str, Callable[["_Site"], CheckResult]]]


@dataclass(frozen=True)
class _Site:
    """Input of the checks: the deployment and its stack, and clients in its region."""

    spec: DeploymentSpec
    stack: Stack

    def client(self, service: str) -> Any:
        """Return the client of a service in the deployment's region."""
        return client(service, self.spec.region)


def guard(spec: DeploymentSpec, stack: Stack) -> list[Finding]:
    """Run all checks for this kind of deployment. If AWS refuses a check's request, this check counts as failed."""
    site = _Site(spec, stack)
    checks = [*_DATA]
    if stack.cluster_id is not None:
        checks += _CLUSTER if _is_living(site) else [("cluster", _ended)]
    if stack.application_id is not None:
        checks += _APPLICATION
    with translated_errors():
        return list(_findings(site, checks))


def _findings(site: _Site, checks: _Checks) -> Iterator[Finding]:
    from botocore.exceptions import ClientError

    for name, check in checks:
        try:
            is_ok, detail = check(site)
        except ClientError as error:
            is_ok, detail = False, f"not set, or not readable ({code_of(error)})"
        yield Finding(name, is_ok, detail)


def _region(site: _Site) -> CheckResult:
    location = site.client("s3").get_bucket_location(Bucket=site.stack.bucket)["LocationConstraint"]
    region = {None: "us-east-1", "EU": "eu-west-1"}.get(location, location)  # Dublin's old buckets return EU
    client_region = site.client("ec2").meta.region_name
    city = EU_REGIONS["aws"].get(region)
    is_ok = city is not None and region == site.spec.region == client_region
    return is_ok, f"{region} ({city or 'not in the EU'})"


def _encryption(site: _Site) -> CheckResult:
    rules = site.client("s3").get_bucket_encryption(Bucket=site.stack.bucket)["ServerSideEncryptionConfiguration"]
    rule = rules["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    key = rule.get("KMSMasterKeyID", "")
    is_ours = rule["SSEAlgorithm"] == "aws:kms" and key == site.stack.kms_key_arn
    return is_ours, f"{rule['SSEAlgorithm']}, {'our own key' if is_ours else key or 'no key of our own'}"


def _rotation(site: _Site) -> CheckResult:
    is_on = site.client("kms").get_key_rotation_status(KeyId=site.stack.kms_key_arn)["KeyRotationEnabled"]
    return is_on, "every year" if is_on else "off"


def _public_access(site: _Site) -> CheckResult:
    block = site.client("s3").get_public_access_block(Bucket=site.stack.bucket)["PublicAccessBlockConfiguration"]
    settings = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    missing = [name for name in settings if not block.get(name)]
    return not missing, f"not set: {', '.join(missing)}" if missing else "blocked by all four settings"


def _tls(site: _Site) -> CheckResult:
    policy = json.loads(site.client("s3").get_bucket_policy(Bucket=site.stack.bucket)["Policy"])
    denials = [rule.get("Condition", {}) for rule in policy["Statement"] if rule["Effect"] == "Deny"]
    values = [condition.get("Bool", {}).get("aws:SecureTransport") for condition in denials]
    is_denied = any(value in ("false", ["false"]) for value in values)
    return is_denied, "plain HTTP is denied" if is_denied else "plain HTTP is not denied by the bucket's policy"


def _versioning(site: _Site) -> CheckResult:
    state = site.client("s3").get_bucket_versioning(Bucket=site.stack.bucket).get("Status", "off")
    return state == "Enabled", str(state).lower()


def _budget(site: _Site) -> CheckResult:
    account = site.client("sts").get_caller_identity()["Account"]
    budgets = site.client("budgets").describe_budgets(AccountId=account).get("Budgets", [])
    ours = [budget["BudgetLimit"] for budget in budgets if budget["BudgetName"] == f"verger-{site.spec.name}"]
    detail = ", ".join(f"{limit['Amount']} {limit['Unit']} a month" for limit in ours)
    return bool(ours), detail or "there is none"


def _alerts(site: _Site) -> CheckResult:
    """Check that the address gets alarms: the user must have opened the link that AWS sent to this address."""
    if site.spec.email is None:
        return True, "go to no one (add an address: verger cloud up --email)"
    account = site.client("sts").get_caller_identity()["Account"]
    topic = f"arn:aws:sns:{site.spec.region}:{account}:verger-{site.spec.name}"
    subscriptions = site.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    arns = [each["SubscriptionArn"] for each in subscriptions if each["Endpoint"] == site.spec.email]
    if any(arn.startswith("arn:") for arn in arns):
        return True, f"go to {site.spec.email}"
    return False, f"{site.spec.email} has not opened the link in AWS's mail" if arns else "go to no one"


def _is_living(site: _Site) -> bool:
    with translated_errors():
        return _cluster(site)["Status"]["State"] in LIVING


def _ended(site: _Site) -> CheckResult:
    return True, f"{site.stack.cluster_id} has ended: there are no machines to check"


def _idle_stop(site: _Site) -> CheckResult:
    policy = site.client("emr").get_auto_termination_policy(ClusterId=site.stack.cluster_id)[
        "AutoTerminationPolicy"
    ]
    minutes = int(policy["IdleTimeout"]) // 60
    return minutes <= site.spec.idle_minutes, f"after {minutes} minutes without work"


def _release(site: _Site) -> CheckResult:
    label = _cluster(site).get("ReleaseLabel", "")
    return label.startswith(_RELEASES), label


def _security(site: _Site) -> dict[str, Any]:
    name = _cluster(site).get("SecurityConfiguration", "")
    text = site.client("emr").describe_security_configuration(Name=name)["SecurityConfiguration"]
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _disks(site: _Site) -> CheckResult:
    settings = _security(site).get("EncryptionConfiguration", {})
    is_encrypted = bool(settings.get("EnableAtRestEncryption"))
    return is_encrypted, "encrypted" if is_encrypted else "not encrypted"


def _metadata(site: _Site) -> CheckResult:
    settings = _security(site).get("InstanceMetadataServiceConfiguration", {})
    version = settings.get("MinimumInstanceMetadataServiceVersion", 1)
    return int(version) >= 2, f"at least version {version}"


def _network(site: _Site) -> CheckResult:
    ec2, vpc_ids = site.client("ec2"), [site.stack.vpc_id]
    attached = [{"Name": "attachment.vpc-id", "Values": vpc_ids}]
    gateways = ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]
    gateways += ec2.describe_nat_gateways(Filters=[{"Name": "vpc-id", "Values": vpc_ids}])["NatGateways"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": vpc_ids}])["Subnets"]
    public = [subnet["SubnetId"] for subnet in subnets if subnet.get("MapPublicIpOnLaunch")]
    exits = public + [gateway.get("InternetGatewayId") or gateway["NatGatewayId"] for gateway in gateways]
    detail = f"to the internet: {', '.join(exits)}" if exits else f"{len(subnets)} private subnets"
    return not exits and bool(subnets), detail


def _firewall(site: _Site) -> CheckResult:
    in_vpc = [{"Name": "vpc-id", "Values": [site.stack.vpc_id]}]
    groups = site.client("ec2").describe_security_groups(Filters=in_vpc)["SecurityGroups"]
    open_groups = [group["GroupId"] for group in groups if any(map(_is_open_to_all, group["IpPermissions"]))]
    detail = f"open to all: {', '.join(open_groups)}" if open_groups else f"{len(groups)} groups, none open"
    return not open_groups, detail


def _is_open_to_all(permission: dict[str, Any]) -> bool:
    ranges = [block.get("CidrIp") for block in permission.get("IpRanges", [])]
    ranges += [block.get("CidrIpv6") for block in permission.get("Ipv6Ranges", [])]
    return "0.0.0.0/0" in ranges or "::/0" in ranges


def _tags(site: _Site) -> CheckResult:
    tags = {tag["Key"]: tag["Value"] for tag in _cluster(site).get("Tags", [])}
    return _check_tags(site, tags)


def _check_tags(site: _Site, tags: dict[str, str]) -> CheckResult:
    expected = {"project": PROJECT, "deployment": site.spec.name}
    return expected.items() <= tags.items(), ", ".join(f"{key}={tags.get(key, '')}" for key in expected)


def _cluster(site: _Site) -> dict[str, Any]:
    cluster: dict[str, Any] = site.client("emr").describe_cluster(ClusterId=site.stack.cluster_id)["Cluster"]
    return cluster


def _application(site: _Site) -> dict[str, Any]:
    serverless = site.client("emr-serverless")
    application: dict[str, Any] = serverless.get_application(applicationId=site.stack.application_id)["application"]
    return application


def _auto_stop(site: _Site) -> CheckResult:
    settings = _application(site).get("autoStopConfiguration", {})
    minutes = settings.get("idleTimeoutMinutes", 0)
    is_on = bool(settings.get("enabled")) and minutes <= site.spec.idle_minutes
    return is_on, f"after {minutes} minutes without work" if settings.get("enabled") else "off"


def _capacity(site: _Site) -> CheckResult:
    limit = _application(site).get("maximumCapacity")
    return limit is not None, f"at most {limit['cpu']}, {limit['memory']}" if limit else "without a limit"


def _application_tags(site: _Site) -> CheckResult:
    return _check_tags(site, _application(site).get("tags", {}))


def _application_release(site: _Site) -> CheckResult:
    label = _application(site).get("releaseLabel", "")
    return label.startswith(_RELEASES), label


_DATA: _Checks = [
    ("region", _region),
    ("bucket: encryption", _encryption),
    ("key: rotation", _rotation),
    ("bucket: public access", _public_access),
    ("bucket: TLS only", _tls),
    ("bucket: versioning", _versioning),
    ("network: outgoing", _network),
    ("network: incoming", _firewall),
    ("budget", _budget),
    ("alarms", _alerts),
]
_CLUSTER: _Checks = [
    ("cluster: ends when idle", _idle_stop),
    ("cluster: release", _release),
    ("cluster: disks", _disks),
    ("machines: metadata service", _metadata),
    ("cluster: tags", _tags),
]
_APPLICATION: _Checks = [
    ("application: stops when idle", _auto_stop),
    ("application: capacity", _capacity),
    ("application: release", _application_release),
    ("application: tags", _application_tags),
]
