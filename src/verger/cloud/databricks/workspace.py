"""A deployment in a Databricks workspace: its volume, cluster policy, job and clusters."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from verger.cloud.databricks import requests
from verger.cloud.deploy.data_paths import PathRule
from verger.cloud.deploy.provider import DeploymentSpec, Leftover, Say
from verger.cloud.deploy.transfer import make_room
from verger.errors import CloudError, SettingsError, SetupError
from verger.storage.atomic import write_atomically
from verger.storage.manifest import MANIFEST

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

VOLUME = "files"
_LEGACY = "hive_metastore"  # the catalog from before Unity Catalog, still the default of many workspaces
_RETRY_S = 60  # time for which a request is repeated if the workspace does not answer; the SDK's default is 300 s
_STOP_TIMEOUT = timedelta(minutes=10)
_MISSING = "Databricks needs its SDK: pip install 'verger[databricks]'"


@contextlib.contextmanager
def translated_errors(action: str, spec: DeploymentSpec) -> Iterator[None]:
    """Translate the SDK's exceptions into CloudError; `action` completes "Databricks does not ..."."""
    try:
        from databricks.sdk.errors.base import DatabricksError
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        yield
    except DatabricksError as error:
        raise CloudError(f"Databricks does not {action}: {_first_line(error)}") from None
    except TimeoutError as error:
        workspace = spec.workspace or "the workspace that DATABRICKS_HOST or a profile names"
        raise CloudError(f"{workspace} does not answer: check the address ({_first_line(error)})") from None


def open_workspace(spec: DeploymentSpec) -> Workspace:
    """Log in with the credentials of Databricks' own tools; raises SetupError if there are none."""
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        config = Config(host=spec.workspace, product="verger", retry_timeout_seconds=_RETRY_S)
        client = WorkspaceClient(config=config)
    except ValueError as error:
        raise SetupError(
            "no credentials for Databricks: set DATABRICKS_HOST and DATABRICKS_TOKEN, or run "
            f"`databricks auth login --host {spec.workspace or 'https://WORKSPACE'}` ({_first_line(error)})"
        ) from None
    return Workspace(client, spec.name, spec.catalog or _default_catalog(client))


def _default_catalog(client: WorkspaceClient) -> str:
    """Return the workspace's default catalog if it can hold volumes, otherwise the catalog main."""
    catalog = client.metastores.current().default_catalog_name
    return catalog if catalog and catalog != _LEGACY else "main"


@contextlib.contextmanager
def _catalog_errors(catalog: str) -> Iterator[None]:
    """Translate the SDK's exceptions into a CloudError that advises another catalog."""
    from databricks.sdk.errors.base import DatabricksError

    try:
        yield
    except DatabricksError as error:
        raise CloudError(
            f"cannot create a volume in the catalog {catalog} ({_first_line(error)}): choose another --catalog"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class Workspace:
    """The SDK's client with the name and the catalog of one deployment."""

    client: WorkspaceClient
    name: str
    catalog: str

    @property
    def schema(self) -> str:
        """Full name of the schema, CATALOG.SCHEMA."""
        return f"{self.catalog}.{requests.schema_name(self.name)}"

    @property
    def volume(self) -> str:
        """Folder of the volume, /Volumes/CATALOG/SCHEMA/files."""
        return f"/Volumes/{self.schema.replace('.', '/')}/{VOLUME}"

    def resolve(self, path: str) -> str:
        """Return the absolute path of a source or result; a relative path is inside the deployment's volume.

        Raises CloudError for local folders, and for object stores, whose regions Databricks does not report.
        """
        advice = (
            "jobs on Databricks can read and write only volumes, because Databricks does not report whether a "
            "bucket is in the European Union. Name a folder of the deployment's volume (raw/), or /Volumes/...; to "
            f"upload photos: databricks fs cp -r FOLDER dbfs:{self.volume}/raw"
        )
        return PathRule(self.volume, "/Volumes/", advice).resolve(path)

    def check_catalog(self) -> None:
        """Raise CloudError if the catalog cannot be read, SettingsError if it cannot hold volumes."""
        if self.catalog == _LEGACY:
            raise SettingsError("catalog", _LEGACY, "a catalog of Unity Catalog, which can hold volumes")
        with _catalog_errors(self.catalog):
            self.client.catalogs.get(self.catalog)

    def make_volume(self) -> None:
        """Create the schema and the volume if they do not exist."""
        from databricks.sdk.service.catalog import VolumeType

        schema = requests.schema_name(self.name)
        with _catalog_errors(self.catalog):
            if self.schema not in self._schemas():
                self.client.schemas.create(schema, self.catalog, comment="verger")
            if VOLUME not in {volume.name for volume in self.client.volumes.list(self.catalog, schema)}:
                self.client.volumes.create(self.catalog, schema, VOLUME, VolumeType.MANAGED)

    def upload(self, package: Path, say: Say) -> None:
        """Copy the package into the volume; an older package is replaced."""
        files = sorted(file for file in package.rglob("*") if file.is_file())
        for file in files:
            target = f"{self.volume}/packages/{file.relative_to(package).as_posix()}"
            with file.open("rb") as content:
                self.client.files.upload(target, content, overwrite=True)
        say(f"uploaded {len(files)} files of the package to {self.volume}/packages")

    def download(self, source: str, folder: Path, say: Say) -> None:
        """Copy a result from the volume to a local folder, its manifest last. Raises the errors of `make_room`."""
        names = sorted(self._files_below(source), key=lambda name: name == MANIFEST)
        make_room(source, folder, set(names))
        for name in names:
            with write_atomically(folder / name) as part:
                self.client.files.download_to(f"{source}/{name}", str(part), overwrite=True)
            say(str(folder / name))

    def _files_below(self, folder: str, parent: str = "") -> Iterator[str]:
        for entry in self.client.files.list_directory_contents(folder):
            assert entry.path is not None
            name = posixpath.join(parent, posixpath.basename(entry.path))
            if entry.is_directory:
                yield from self._files_below(entry.path, name)
            else:
                yield name

    def find_policy(self) -> str | None:
        """Return the id of the cluster policy, or None if it does not exist."""
        title = requests.title(self.name)
        ids = (policy.policy_id for policy in self.client.cluster_policies.list() if policy.name == title)
        return next(ids, None)

    def policy_definition(self) -> str | None:
        """Return the policy's rules as JSON, or None if the policy does not exist."""
        policy = self.find_policy()
        return self.client.cluster_policies.get(policy).definition if policy else None

    def make_policy(self, spec: DeploymentSpec) -> str:
        """Create or update the policy; return its id."""
        definition = json.dumps(requests.policy_definition(spec), indent=2)
        policies, title = self.client.cluster_policies, requests.title(self.name)
        policy = self.find_policy()
        if policy is not None:
            policies.edit(policy, name=title, definition=definition)
            return policy
        made = policies.create(name=title, definition=definition).policy_id
        assert made is not None
        return made

    def find_job(self) -> int | None:
        """Return the id of the job, or None if it does not exist."""
        return next((job.job_id for job in self.client.jobs.list(name=requests.title(self.name))), None)

    def job_id(self) -> int:
        """Return the id of the job; raises CloudError if the job does not exist."""
        job = self.find_job()
        if job is None:
            raise CloudError(
                f"the job {requests.title(self.name)} does not exist: verger cloud up --name {self.name} creates it"
            )
        return job

    def make_job(self, spec: DeploymentSpec, policy: str) -> None:
        """Create or update the job."""
        from databricks.sdk.service.jobs import JobSettings

        settings = JobSettings.from_dict(requests.job_settings(spec, policy, self.volume))
        job = self.find_job()
        if job is None:
            # `create` takes each field as an argument; empty fields are not set and must be left out.
            self.client.jobs.create(**{key: value for key, value in vars(settings).items() if value})
        else:
            self.client.jobs.reset(job, settings)

    def clusters(self) -> list[str]:
        """Return the ids of the clusters that have this deployment's tags and have not ended."""
        tags = requests.tags(self.name).items()
        return [
            str(cluster.cluster_id)
            for cluster in self.client.clusters.list()
            if tags <= (cluster.custom_tags or {}).items() and getattr(cluster.state, "value", "") != "TERMINATED"
        ]

    def remove_job(self, say: Say) -> None:
        """Stop the job's runs and wait for their end; remove the job and all clusters of the deployment."""
        job = self.find_job()
        if job is not None:
            for run in self.client.jobs.list_runs(job_id=job, active_only=True):
                assert run.run_id is not None
                self._stop(run.run_id)
                say(f"stopped run {run.run_id}")
            self.client.jobs.delete(job)
            say(f"removed job {requests.title(self.name)}")
        for cluster in self.clusters():
            self.client.clusters.permanent_delete(cluster)
            say(f"removed cluster {cluster}")

    def _stop(self, run: int) -> None:
        from databricks.sdk.errors import OperationFailed

        stopping = self.client.jobs.cancel_run(run)
        try:
            with contextlib.suppress(OperationFailed):  # the run failed while it was stopping, so it has ended
                stopping.result(timeout=_STOP_TIMEOUT)
        except TimeoutError as error:
            raise CloudError(
                f"run {run} has not stopped yet ({_first_line(error)}): `verger cloud down` tries again"
            ) from None

    def remove_policy(self, say: Say) -> None:
        """Remove the cluster policy."""
        policy = self.find_policy()
        if policy is not None:
            self.client.cluster_policies.delete(policy)
            say(f"removed cluster policy {requests.title(self.name)}")

    def remove_files(self, say: Say, *, keep_data: bool) -> None:
        """Remove the volume with all its files, and the schema."""
        from databricks.sdk.errors import NotFound

        if keep_data:
            say(f"kept {self.volume}")
            return
        with contextlib.suppress(NotFound):
            self.client.volumes.delete(f"{self.schema}.{VOLUME}")
            say(f"removed volume {self.schema}.{VOLUME}")
        with contextlib.suppress(NotFound):
            self.client.schemas.delete(self.schema)
            say(f"removed schema {self.schema}")

    def leftovers(self, *, keep_data: bool) -> list[Leftover]:
        """Return those resources of the deployment that the workspace still lists."""
        from databricks.sdk.errors import NotFound

        left = [Leftover("cluster", cluster) for cluster in self.clusters()]
        if (job := self.find_job()) is not None:
            left.append(Leftover("job", str(job)))
        with contextlib.suppress(NotFound):  # the catalog itself may have been removed
            if not keep_data and self.schema in self._schemas():
                left.append(Leftover("schema", self.schema))
        return left

    def _schemas(self) -> set[str | None]:
        return {schema.full_name for schema in self.client.schemas.list(self.catalog)}
