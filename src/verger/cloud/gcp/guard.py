"""Checks of an existing deployment on Google Cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verger.cloud.deploy.provider import DeploymentSpec, Finding
from verger.cloud.gcp.names import Names
from verger.cloud.regions import EU_REGIONS

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import Cluster
    from google.cloud.storage import Bucket

_PREVENTED = "enforced"


def findings(spec: DeploymentSpec, names: Names, bucket: Bucket | None, cluster: Cluster | None) -> list[Finding]:
    """Compare bucket and cluster with the spec. A missing cluster is no error, because idle clusters end."""
    if bucket is None:
        return [
            Finding(
                "bucket", False, f"{names.bucket} does not exist: verger cloud up --name {spec.name} creates it"
            )
        ]
    return [*_check_bucket(spec, names, bucket), *(_check_cluster(spec, names, cluster) if cluster else [])]


def _check_bucket(spec: DeploymentSpec, names: Names, bucket: Bucket) -> list[Finding]:
    region = str(bucket.location).lower()
    city = EU_REGIONS["gcp"].get(region)
    access = bucket.iam_configuration
    is_prevented = access.public_access_prevention == _PREVENTED
    is_uniform = bool(access.uniform_bucket_level_access_enabled)
    rules = list(bucket.lifecycle_rules)
    return [
        Finding("region in the EU", bool(city) and region == spec.region, f"{region} ({city or 'not in the EU'})"),
        Finding("no public access", is_prevented, str(access.public_access_prevention)),
        Finding(
            "uniform bucket-level access",
            is_uniform,
            "on" if is_uniform else "off: objects may have access lists",
        ),
        Finding("encryption", True, bucket.default_kms_key_name or "Google's own key"),
        Finding("versions are kept", bool(bucket.versioning_enabled), "on" if bucket.versioning_enabled else "off"),
        Finding("lifecycle rules", bool(rules), f"{len(rules)} rules"),
        _check_labels("labels of the bucket", names, bucket.labels),
    ]


def _check_cluster(spec: DeploymentSpec, names: Names, cluster: Cluster) -> list[Finding]:
    config = cluster.config
    idle = _minutes(config.lifecycle_config.idle_delete_ttl)
    oldest = _minutes(config.lifecycle_config.auto_delete_ttl)
    machines = config.gce_cluster_config
    is_shielded = machines.shielded_instance_config.enable_secure_boot
    return [
        Finding("idle clusters end", 0 < idle <= spec.idle_minutes, f"after {idle:g} minutes"),
        Finding("old clusters end", 0 < oldest <= spec.max_hours * 60, f"after {oldest / 60:g} hours"),
        Finding(
            "no public addresses", machines.internal_ip_only, "internal" if machines.internal_ip_only else "public"
        ),
        Finding("shielded machines", is_shielded, "secure boot" if is_shielded else "no secure boot"),
        Finding(
            "own service account",
            machines.service_account == names.service_account,
            machines.service_account or "the project's default one, which has nearly all rights",
        ),
        _check_labels("labels of the cluster", names, cluster.labels),
    ]


def _minutes(duration: object) -> float:
    """Return a timedelta in minutes, or 0 for None, which the client returns for a setting without a value."""
    seconds = duration.total_seconds() if hasattr(duration, "total_seconds") else 0.0
    return float(seconds) / 60


def _check_labels(check: str, names: Names, mapping: object) -> Finding:
    labels = dict(mapping)  # type: ignore[call-overload]
    missing = [f"{key}={value}" for key, value in names.labels.items() if labels.get(key) != value]
    return Finding(check, not missing, "missing: " + ", ".join(missing) if missing else "project, deployment")
