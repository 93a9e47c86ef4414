"""Checks of an existing deployment in a Databricks workspace."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from verger.cloud.databricks import requests
from verger.cloud.deploy.provider import DeploymentSpec, Finding
from verger.cloud.regions import EU_REGIONS

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import JobSettings

_MISSING = "does not exist: verger cloud up --name {name} creates it"


def findings(
    spec: DeploymentSpec, *, region: str, policy: str | None, job: JobSettings | None, clusters: Sequence[str]
) -> list[Finding]:
    """Compare the deployment's resources with the spec.

    policy: the JSON definition in the workspace; clusters: the clusters that are running now.
    """
    in_eu = Finding("region in the EU", region in EU_REGIONS["databricks"], region)
    rules: dict[str, Any] = json.loads(policy) if policy else {}
    settings = job.as_dict() if job else {}
    running = Finding("at most the cluster of one run", len(clusters) <= 1, f"{len(clusters)} running")
    return [in_eu, *_check_policy(spec, rules), *_check_job(spec, settings), running]


def _check_policy(spec: DeploymentSpec, rules: dict[str, Any]) -> list[Finding]:
    if not rules:
        return [Finding("cluster policy", False, _MISSING.format(name=spec.name))]

    def fixed(key: str) -> object:
        rule = rules.get(key, {})
        return rule.get("value") if rule.get("type") == "fixed" else None

    minutes = fixed("autotermination_minutes")
    is_limited = isinstance(minutes, int) and 0 < minutes <= spec.idle_minutes
    return [
        Finding(
            "idle clusters end", is_limited, f"after {minutes} minutes" if minutes else "the policy sets no limit"
        ),
        Finding(
            "access mode", fixed("data_security_mode") == requests.SECURITY_MODE, str(fixed("data_security_mode"))
        ),
        _check_tags("tags by policy", spec, lambda key: fixed(f"custom_tags.{key}")),
    ]


def _check_job(spec: DeploymentSpec, job: dict[str, Any]) -> list[Finding]:
    if not job:
        return [Finding("job", False, _MISSING.format(name=spec.name))]
    task = job["tasks"][0]
    clusters = [entry["new_cluster"] for entry in job.get("job_clusters", ())]
    cluster = clusters[0] if clusters else {}
    limit_h = task.get("timeout_seconds", 0) / 3600
    mode = cluster.get("data_security_mode", "none")
    return [
        Finding("each run has its own cluster", bool(clusters), "job cluster" if clusters else "another cluster"),
        Finding(
            "runs have a time limit", 0 < limit_h <= spec.max_hours, f"{limit_h:g} h" if limit_h else "no limit"
        ),
        Finding(
            "the cluster policy applies to the job's cluster",
            bool(cluster.get("policy_id")),
            str(cluster.get("policy_id", "none")),
        ),
        Finding("Unity Catalog's access mode", mode == requests.SECURITY_MODE, mode),
        _check_tags("tags", spec, cluster.get("custom_tags", {}).get),
    ]


def _check_tags(check: str, spec: DeploymentSpec, value_of: Callable[[str], object]) -> Finding:
    expected = requests.tags(spec.name)
    missing = [f"{key}={value}" for key, value in expected.items() if value_of(key) != value]
    return Finding(check, not missing, "missing: " + ", ".join(missing) if missing else ", ".join(expected))
