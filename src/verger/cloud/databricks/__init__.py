"""Databricks, with its own SDK: files in a Unity Catalog volume, a cluster policy, and a job with its own clusters.

`up` uploads the package and creates policy and job; `submit` starts machines, which end with the run. Credentials
are those of Databricks' own tools: DATABRICKS_TOKEN, ~/.databrickscfg, or a login with the CLI.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from verger.cloud.databricks import requests
from verger.cloud.databricks.guard import findings
from verger.cloud.databricks.workspace import VOLUME, open_workspace, translated_errors
from verger.cloud.deploy.package import check_package
from verger.cloud.deploy.provider import (
    ACTIVE_STATES,
    DeploymentSpec,
    DeploymentStatus,
    Finding,
    JobSpec,
    JobStatus,
    Leftover,
    PlannedResource,
    Say,
)
from verger.cloud.deploy.targets import target_of
from verger.cloud.regions import check_region
from verger.errors import CloudError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import BaseRun

_MAX_RUNS_SHOWN = 25

_STATES = {
    "BLOCKED": "waiting",
    "PENDING": "waiting",
    "QUEUED": "waiting",
    "WAITING": "waiting",
    "RUNNING": "running",
    "TERMINATING": "running",
}


class Databricks:
    """The provider of Databricks workspaces in the EU, on any cloud; see `provider.Provider` for the methods."""

    def plan(self, spec: DeploymentSpec) -> list[PlannedResource]:
        """Return the resources that `up` would create."""
        check_region("databricks", spec.region)
        title, schema = requests.title(spec.name), requests.schema_name(spec.name)
        if spec.catalog:
            schema = f"{spec.catalog}.{schema}"
        workers = f"{spec.shape.workers} to {spec.shape.peak_workers} workers"
        return [
            PlannedResource("schema", schema, "holds the volume"),
            PlannedResource("volume", f"{schema}.{VOLUME}", "verger's package, results and logs"),
            PlannedResource("cluster policy", title, f"idle clusters end after {spec.idle_minutes} minutes; tags"),
            PlannedResource("job", title, f"a cluster of {workers} for each run"),
        ]

    def check(self, spec: DeploymentSpec) -> None:
        """Check the workspace's region and the catalog."""
        with translated_errors("report the workspace's region", spec):
            workspace = open_workspace(spec)
            _check_workspace(workspace.client, spec)
            workspace.check_catalog()

    def up(self, spec: DeploymentSpec, package: Path, say: Say) -> None:
        """Upload the package; create or update the policy and the job."""
        check_package(package, target_of(spec))
        with translated_errors("create the deployment", spec):
            workspace = open_workspace(spec)
            _check_workspace(workspace.client, spec)
            workspace.make_volume()
            workspace.upload(package, say)
            policy = workspace.make_policy(spec)
            say(f"cluster policy {requests.title(spec.name)}")
            workspace.make_job(spec, policy)
            say(f"job {requests.title(spec.name)}")

    def submit(self, spec: DeploymentSpec, job: JobSpec) -> str:
        """Start a run of the job with the arguments of `verger`."""
        with translated_errors("start a run", spec):
            workspace = open_workspace(spec)
            arguments = [job.command, workspace.resolve(job.src), workspace.resolve(job.out), *job.flags]
            started = workspace.client.jobs.run_now(workspace.job_id(), python_params=arguments)
            return str(started.run_id)

    def status(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Return the runs, newest first; a cluster costs money until its run ends."""
        with translated_errors("list runs", spec):
            workspace = open_workspace(spec)
            job = workspace.find_job()
            if job is None:
                return DeploymentStatus(
                    f"the job does not exist: verger cloud up --name {spec.name} creates it", is_billable=False
                )
            listed = workspace.client.jobs.list_runs(job_id=job, limit=_MAX_RUNS_SHOWN)
            runs = [run for run, _ in zip(listed, range(_MAX_RUNS_SHOWN), strict=False)]
            clusters = workspace.clusters()
        jobs = tuple(_job_status(run) for run in runs)
        is_busy = any(job.state in ACTIVE_STATES for job in jobs)
        state = f"clusters: {len(clusters)}" if is_busy or clusters else "ready: each run starts its own machines"
        return DeploymentStatus(state, is_busy or bool(clusters), jobs, data_uri=workspace.volume)

    def logs(self, spec: DeploymentSpec, job_id: str) -> Iterator[str]:
        """Yield the output lines of a run, then the run's error. Databricks keeps only the last 5 MB of output."""
        with translated_errors(f"read the output of run {job_id}", spec):
            jobs = open_workspace(spec).client.jobs
            for task in jobs.get_run(int(job_id)).tasks or ():
                assert task.run_id is not None
                output = jobs.get_run_output(task.run_id)
                for text in (output.logs, output.error, output.error_trace):
                    yield from (text or "").splitlines()

    def fetch(self, spec: DeploymentSpec, out: str, folder: Path, say: Say) -> None:
        """Copy a result from a volume."""
        with translated_errors(f"read {out}", spec):
            workspace = open_workspace(spec)
            workspace.download(workspace.resolve(out), folder, say)

    def down(self, spec: DeploymentSpec, say: Say, *, keep_data: bool) -> list[Leftover]:
        """Stop the runs, remove job, policy and files; return what the workspace still lists."""
        with translated_errors("remove the deployment", spec):
            workspace = open_workspace(spec)
            workspace.remove_job(say)
            workspace.remove_policy(say)
            workspace.remove_files(say, keep_data=keep_data)
            return workspace.leftovers(keep_data=keep_data)

    def guard(self, spec: DeploymentSpec) -> list[Finding]:
        """Check the workspace's region, the policy's rules and the job's cluster."""
        with translated_errors("read the deployment's settings", spec):
            workspace = open_workspace(spec)
            job = workspace.find_job()
            settings = workspace.client.jobs.get(job).settings if job is not None else None
            return findings(
                spec,
                region=workspace.client.metastores.summary().region or "unknown",
                policy=workspace.policy_definition(),
                job=settings,
                clusters=workspace.clusters(),
            )


def _check_workspace(client: WorkspaceClient, spec: DeploymentSpec) -> None:
    """Raise CloudError unless the workspace is in the spec's region and this region is in the EU."""
    check_region("databricks", spec.region)
    region = client.metastores.summary().region or "unknown"
    check_region("databricks", region)
    if region != spec.region:
        raise CloudError(f"the workspace is in {region}, not in {spec.region}: use --region {region}")


def _job_status(run: BaseRun) -> JobStatus:
    state = run.status.state.value if run.status and run.status.state else ""
    ending = run.status.termination_details if run.status else None
    code = ending.code.value if ending and ending.code else ""
    outcome = "done" if code == "SUCCESS" else "stopped" if code in ("CANCELED", "USER_CANCELED") else "failed"
    detail = ending.message or code if ending and outcome == "failed" else ""
    return JobStatus(
        str(run.run_id), _STATES.get(state, outcome), detail, _time(run.start_time), _time(run.end_time)
    )


def _time(milliseconds: int | None) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else ""
