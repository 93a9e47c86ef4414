"""Whether what is in a Databricks workspace is as verger would make it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from verger.cloud.databricks import job as ask
from verger.cloud.deploy.provider import Deployment, Finding
from verger.cloud.regions import EU_REGIONS

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import JobSettings

_ABSENT = "is not there: verger cloud up --name {name} makes it"


def findings(
    here: Deployment, *, region: str, policy: str | None, job: JobSettings | None, clusters: Sequence[str]
) -> list[Finding]:
    """Compare what was found with what is asked for.

    policy: its definition, JSON as the workspace keeps it; clusters: those that run now.
    """
    where = Finding("region in the EU", region in EU_REGIONS["databricks"], region)
    rules: dict[str, Any] = json.loads(policy) if policy else {}
    found = job.as_dict() if job else {}
    running = Finding("no more clusters than one run has", len(clusters) <= 1, f"{len(clusters)} running")
    return [where, *_of_policy(here, rules), *_of_job(here, found), running]


def _of_policy(here: Deployment, rules: dict[str, Any]) -> list[Finding]:
    if not rules:
        return [Finding("cluster policy", False, _ABSENT.format(name=here.name))]

    def fixed(key: str) -> object:
        rule = rules.get(key, {})
        return rule.get("value") if rule.get("type") == "fixed" else None

    minutes = fixed("autotermination_minutes")
    does_stop = isinstance(minutes, int) and 0 < minutes <= here.idle_minutes
    return [
        Finding("idle clusters end", does_stop, f"after {minutes} minutes" if minutes else "never by the policy"),
        Finding("access mode", fixed("data_security_mode") == ask.SECURITY_MODE, str(fixed("data_security_mode"))),
        _marked("tags by policy", here, lambda key: fixed(f"custom_tags.{key}")),
    ]


def _of_job(here: Deployment, job: dict[str, Any]) -> list[Finding]:
    if not job:
        return [Finding("job", False, _ABSENT.format(name=here.name))]
    task = job["tasks"][0]
    clusters = [told["new_cluster"] for told in job.get("job_clusters", ())]
    cluster = clusters[0] if clusters else {}
    limit_h = task.get("timeout_seconds", 0) / 3600
    mode = cluster.get("data_security_mode", "none")
    return [
        Finding("a run has a cluster of its own", bool(clusters), "job cluster" if clusters else "another cluster"),
        Finding("a run ends in time", 0 < limit_h <= here.max_hours, f"{limit_h:g} h" if limit_h else "no limit"),
        Finding("the policy holds for it", bool(cluster.get("policy_id")), str(cluster.get("policy_id", "none"))),
        Finding("Unity Catalog's access mode", mode == ask.SECURITY_MODE, mode),
        _marked("tags", here, cluster.get("custom_tags", {}).get),
    ]


def _marked(check: str, here: Deployment, found: Callable[[str], object]) -> Finding:
    wanted = ask.tags(here.name)
    missing = [f"{key}={value}" for key, value in wanted.items() if found(key) != value]
    return Finding(check, not missing, "missing: " + ", ".join(missing) if missing else ", ".join(wanted))
