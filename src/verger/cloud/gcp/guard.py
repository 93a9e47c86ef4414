"""Whether what exists on Google's cloud is as verger would make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verger.cloud.deploy.provider import DeploymentSpec, GuardFinding
from verger.cloud.gcp.names import Names
from verger.cloud.regions import EU_REGIONS

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import Cluster
    from google.cloud.storage import Bucket

_PREVENTED = "enforced"


def findings(
    spec: DeploymentSpec, names: Names, bucket: Bucket | None, cluster: Cluster | None
) -> list[GuardFinding]:
    """Compare what was found with what is asked for; no cluster is no fault: an idle one has ended."""
    if bucket is None:
        return [
            GuardFinding(
                "bucket", False, f"{names.bucket} is not there: verger cloud up --name {spec.name} makes it"
            )
        ]
    return [*_of_bucket(spec, names, bucket), *(_of_cluster(spec, names, cluster) if cluster else [])]


def _of_bucket(spec: DeploymentSpec, names: Names, bucket: Bucket) -> list[GuardFinding]:
    region = str(bucket.location).lower()
    city = EU_REGIONS["gcp"].get(region)
    access = bucket.iam_configuration
    is_prevented = access.public_access_prevention == _PREVENTED
    is_uniform = bool(access.uniform_bucket_level_access_enabled)
    rules = list(bucket.lifecycle_rules)
    return [
        GuardFinding(
            "region in the EU", bool(city) and region == spec.region, f"{region} ({city or 'not in the EU'})"
        ),
        GuardFinding("no public access", is_prevented, str(access.public_access_prevention)),
        GuardFinding(
            "no lists of rights on objects", is_uniform, "uniform access" if is_uniform else "set for each"
        ),
        GuardFinding("encryption", True, bucket.default_kms_key_name or "Google's own key"),
        GuardFinding(
            "versions are kept", bool(bucket.versioning_enabled), "on" if bucket.versioning_enabled else "off"
        ),
        GuardFinding("old objects grow cold or go", bool(rules), f"{len(rules)} rules"),
        _marked("labels of the bucket", names, bucket.labels),
    ]


def _of_cluster(spec: DeploymentSpec, names: Names, cluster: Cluster) -> list[GuardFinding]:
    config = cluster.config
    idle = _minutes(config.lifecycle_config.idle_delete_ttl)
    oldest = _minutes(config.lifecycle_config.auto_delete_ttl)
    machines = config.gce_cluster_config
    is_shielded = machines.shielded_instance_config.enable_secure_boot
    return [
        GuardFinding("idle machines end", 0 < idle <= spec.idle_minutes, f"after {idle:g} minutes"),
        GuardFinding("old machines end", 0 < oldest <= spec.max_hours * 60, f"after {oldest / 60:g} hours"),
        GuardFinding(
            "no public addresses", machines.internal_ip_only, "internal" if machines.internal_ip_only else "public"
        ),
        GuardFinding("shielded machines", is_shielded, "secure boot" if is_shielded else "no secure boot"),
        GuardFinding(
            "a service account of its own",
            machines.service_account == names.service_account,
            machines.service_account or "the project's default one, which may do nearly everything",
        ),
        _marked("labels of the cluster", names, cluster.labels),
    ]


def _minutes(told: object) -> float:
    """Return a duration as the client's types give it: a timedelta, or None where it is not set."""
    seconds = told.total_seconds() if hasattr(told, "total_seconds") else 0.0
    return float(seconds) / 60


def _marked(check: str, names: Names, found: object) -> GuardFinding:
    told = dict(found)  # type: ignore[call-overload]
    missing = [f"{key}={value}" for key, value in names.labels.items() if told.get(key) != value]
    return GuardFinding(check, not missing, "missing: " + ", ".join(missing) if missing else "project, deployment")
