"""Rich tables of `verger cloud`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verger.cloud.deploy.provider import DeploymentSpec, DeploymentStatus, Finding, Leftover, PlannedResource
from verger.cloud.pricing.shapes import shape_text
from verger.cloud.regions import EU_REGIONS

_STYLES = {"done": "green", "failed": "bold red", "stopped": "yellow"}


def deployment_line(deployment: DeploymentSpec) -> str:
    """Return a one-line description of a deployment."""
    city = EU_REGIONS[deployment.provider].get(deployment.region, "")
    spot = ", added workers are spot machines" if deployment.has_spot else ""
    machines = f"{shape_text(deployment.shape)} and {deployment.shape.primary}{spot}"
    return (
        f"{deployment.name}: {deployment.engine} on {deployment.provider}, {deployment.region} ({city}), {machines}"
    )


def resource_table(resources: Sequence[PlannedResource]) -> Table:
    """Return a table of a deployment's resources."""
    table = Table("resource", "name", "purpose")
    for resource in resources:
        table.add_row(resource.kind, Text(resource.name), Text(resource.purpose))
    return table


def status_table(deployment: DeploymentSpec, status: DeploymentStatus) -> RenderableType:
    """Return the state of a deployment and a table of its jobs."""
    costs = "machines cost money now" if status.is_billable else "no machine costs money now"
    lines = [Text(deployment_line(deployment)), Text(f"{status.state}; {costs}")]
    lines += [
        Text(line) for line in (status.standing_cost, status.data_uri and f"storage: {status.data_uri}") if line
    ]
    table = Table("job", "state", "started", "ended", "message")
    table.columns[0].overflow = "fold"
    for job in status.jobs:
        state = Text(job.state, style=_STYLES.get(job.state, ""))
        table.add_row(job.id, state, job.began, job.ended, Text(job.detail))
    return (
        Group(*lines, table)
        if status.jobs
        else Group(*lines, Text("no jobs yet: start one with `verger cloud submit`"))
    )


def finding_table(findings: Sequence[Finding]) -> Table:
    """Return a table of the results of `verger cloud guard`."""
    table = Table("", "check", "found")
    for finding in findings:
        sign = Text("ok", style="green") if finding.is_ok else Text("!!", style="bold red")
        table.add_row(sign, finding.check, Text(finding.detail))
    return table


def leftover_table(leftovers: Sequence[Leftover]) -> Table:
    """Return a table of the resources that still exist after `verger cloud down`."""
    table = Table("left", "id")
    for leftover in leftovers:
        table.add_row(leftover.kind, Text(leftover.id))
    return table
