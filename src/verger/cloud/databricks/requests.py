"""Requests to a Databricks workspace, as plain data: a cluster policy and a job.

infra/databricks defines the same policy and job as an asset bundle for Databricks' CLI. A test compares the two.
"""

from __future__ import annotations

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.regions import EU_REGIONS

# From Databricks' release notes: 17.3 LTS has Spark 4.0.0 and only Scala 2.13, and is supported until October 2028.
# 16.4 LTS, the last with Spark 3.5, has pandas 1.5, too old for verger. `deploy.targets` names the Python of 17.3.
RUNTIME = "17.3.x-scala2.13"
# verger uses spark.sparkContext, which a shared cluster ("USER_ISOLATION") forbids.
SECURITY_MODE = "SINGLE_USER"

_KEY = "verger"  # key of the job's only task, and of its cluster
# AWS machines without a local disk (m5.xlarge) need an EBS disk; sizes are in GB.
_DISK = {"ebs_volume_type": "GENERAL_PURPOSE_SSD", "ebs_volume_count": 1, "ebs_volume_size": 100}
_SPOT = {
    "aws_attributes": {"availability": "SPOT_WITH_FALLBACK", "first_on_demand": 1, **_DISK},
    "azure_attributes": {"availability": "SPOT_WITH_FALLBACK_AZURE", "first_on_demand": 1},
    "gcp_attributes": {"availability": "PREEMPTIBLE_WITH_FALLBACK_GCP", "first_on_demand": 1},
}
_ON_DEMAND = {
    "aws_attributes": {"availability": "ON_DEMAND", **_DISK},
    "azure_attributes": {"availability": "ON_DEMAND_AZURE"},
    "gcp_attributes": {"availability": "ON_DEMAND_GCP"},
}

Json = dict[str, object]


def title(name: str) -> str:
    """Return the name of a deployment's policy and job."""
    return f"verger-{name}"


def schema_name(name: str) -> str:
    """Return the name of a deployment's schema, without hyphens, because SQL allows hyphens only in quotes."""
    return f"verger_{name.replace('-', '_')}"


def tags(name: str) -> dict[str, str]:
    """Return the tags of every machine; the cloud that owns the machine also shows these tags."""
    return {"project": "verger", "deployment": name}


def policy_definition(spec: DeploymentSpec) -> Json:
    """Return the policy's rules: clusters end when idle, have tags, and are not larger than in the spec."""
    shape = spec.shape
    rules: Json = {
        "autotermination_minutes": {"type": "fixed", "value": spec.idle_minutes, "hidden": True},
        "data_security_mode": {"type": "fixed", "value": SECURITY_MODE},
        "spark_version": {"type": "fixed", "value": RUNTIME},
        "node_type_id": {"type": "allowlist", "values": [shape.machine, shape.primary]},
        "driver_node_type_id": {"type": "allowlist", "values": [shape.machine, shape.primary]},
    }
    size = "autoscale.max_workers" if shape.max_workers else "num_workers"
    rules[size] = {"type": "range", "maxValue": shape.peak_workers}
    return rules | {
        f"custom_tags.{key}": {"type": "fixed", "value": value} for key, value in tags(spec.name).items()
    }


def job_settings(spec: DeploymentSpec, policy_id: str, volume: str) -> Json:
    """Return the settings of the job, which runs the package's main.py on a cluster that ends with the run.

    volume: the folder of the deployment's volume, /Volumes/CATALOG/SCHEMA/files.
    """
    task: Json = {
        "task_key": _KEY,
        "job_cluster_key": _KEY,
        "spark_python_task": {"python_file": f"{volume}/packages/main.py", "source": "WORKSPACE"},
        "timeout_seconds": spec.max_hours * 3600,
    }
    settings: Json = {
        "name": title(spec.name),
        "tags": tags(spec.name),
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "tasks": [task],
        "job_clusters": [{"job_cluster_key": _KEY, "new_cluster": _cluster(spec, policy_id, volume)}],
    }
    if spec.email:
        settings["email_notifications"] = {"on_failure": [spec.email]}
    return settings


def _cluster(spec: DeploymentSpec, policy_id: str, volume: str) -> Json:
    shape = spec.shape
    size: Json = {"num_workers": shape.workers}
    if shape.max_workers:
        size = {"autoscale": {"min_workers": shape.workers, "max_workers": shape.max_workers}}
    attributes = f"{cloud_below(spec.region)}_attributes"
    return {
        **size,
        "spark_version": RUNTIME,
        "node_type_id": shape.machine,
        "driver_node_type_id": shape.primary,
        "data_security_mode": SECURITY_MODE,
        "policy_id": policy_id,
        attributes: (_SPOT if shape.spot else _ON_DEMAND)[attributes],
        "custom_tags": tags(spec.name),
        "init_scripts": [{"volumes": {"destination": f"{volume}/packages/init.sh"}}],
        "spark_env_vars": {"VERGER_PACKAGE": f"{volume}/packages"},
        "cluster_log_conf": {"volumes": {"destination": f"{volume}/logs"}},
    }


def cloud_below(region: str) -> str:
    """Return the cloud that a workspace in this region runs on: aws, gcp or azure."""
    return next((cloud for cloud in ("aws", "gcp") if region in EU_REGIONS[cloud]), "azure")
