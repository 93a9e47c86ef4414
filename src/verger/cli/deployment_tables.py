"""What `verger cloud` prints, as rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verger.cloud.deploy.provider import DeploymentSpec, DeploymentStatus, GuardFinding, Leftover, PlannedResource
from verger.cloud.pricing.shapes import shape_text
from verger.cloud.regions import EU_REGIONS

_STYLES = {"done": "green", "failed": "bold red", "stopped": "yellow"}


def deployment_line(here: DeploymentSpec) -> str:
    """Return what a deployment is, in a line."""
    city = EU_REGIONS[here.provider].get(here.region, "")
    spot = ", the added ones spot" if here.has_spot else ""
    machines = f"{shape_text(here.shape)} and {here.shape.primary}{spot}"
    return f"{here.name}: {here.engine} on {here.provider}, {here.region} ({city}), {machines}"


def resource_table(resources: Sequence[PlannedResource]) -> Table:
    """Return what would exist."""
    table = Table("what", "name", "for")
    for resource in resources:
        table.add_row(resource.kind, Text(resource.name), Text(resource.purpose))
    return table


def status_table(here: DeploymentSpec, status: DeploymentStatus) -> RenderableType:
    """Return what runs, and the jobs."""
    costs = "it costs by the hour" if status.is_billable else "no machine costs anything now"
    lines = [Text(deployment_line(here)), Text(f"{status.state}; {costs}")]
    lines += [
        Text(line) for line in (status.standing_cost, status.data_uri and f"its place: {status.data_uri}") if line
    ]
    table = Table("job", "state", "began", "ended", "told")
    table.columns[0].overflow = "fold"
    for job in status.jobs:
        state = Text(job.state, style=_STYLES.get(job.state, ""))
        table.add_row(job.id, state, job.began, job.ended, Text(job.detail))
    return Group(*lines, table) if status.jobs else Group(*lines, Text("no jobs yet: verger cloud submit"))


def finding_table(findings: Sequence[GuardFinding]) -> Table:
    """Return what `guard` found."""
    table = Table("", "check", "found")
    for finding in findings:
        sign = Text("ok", style="green") if finding.is_ok else Text("!!", style="bold red")
        table.add_row(sign, finding.check, Text(finding.detail))
    return table


def leftover_table(leftovers: Sequence[Leftover]) -> Table:
    """Return what is still there after `down`."""
    table = Table("still there", "id")
    for leftover in leftovers:
        table.add_row(leftover.kind, Text(leftover.id))
    return table
