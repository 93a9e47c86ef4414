"""A Databricks workspace, and where in it a deployment's things are."""

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
from verger.cloud.deploy.provider import DeploymentSpec, Leftover, Say
from verger.cloud.deploy.transfer import make_room
from verger.errors import CloudError, SettingsError, SetupError
from verger.storage.atomic import write_atomically
from verger.storage.manifest import MANIFEST
from verger.storage.uri import scheme_of

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

VOLUME = "files"
_LEGACY = "hive_metastore"  # the catalog of before Unity Catalog, and still the default of many a workspace
_PATIENCE_S = 60  # with a workspace that does not answer; the SDK asks for five minutes
_STOPPING = timedelta(minutes=10)
_MISSING = "Databricks needs its SDK: pip install 'verger[databricks]'"


@contextlib.contextmanager
def asking(what: str, spec: DeploymentSpec) -> Iterator[None]:
    """Say in words what Databricks refuses, and which workspace does not answer."""
    try:
        from databricks.sdk.errors.base import DatabricksError
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        yield
    except DatabricksError as error:
        raise CloudError(f"Databricks does not {what}: {_first_line(error)}") from None
    except TimeoutError as error:
        where = spec.workspace or "the workspace that DATABRICKS_HOST or a profile names"
        raise CloudError(f"{where} does not answer: is that its address? ({_first_line(error)})") from None


def open_workspace(spec: DeploymentSpec) -> Workspace:
    """Log in as Databricks' own tools do; raises SetupError where nothing says as whom."""
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        config = Config(host=spec.workspace, product="verger", retry_timeout_seconds=_PATIENCE_S)
        client = WorkspaceClient(config=config)
    except ValueError as error:
        raise SetupError(
            "no credentials for Databricks: set DATABRICKS_HOST and DATABRICKS_TOKEN, or run "
            f"`databricks auth login --host {spec.workspace or 'https://WORKSPACE'}` ({_first_line(error)})"
        ) from None
    return Workspace(client, spec.name, spec.catalog or _default_catalog(client))


def _default_catalog(client: WorkspaceClient) -> str:
    """Return the workspace's own, where it is one that has volumes."""
    found = client.metastores.current().default_catalog_name
    return found if found and found != _LEGACY else "main"


@contextlib.contextmanager
def _needing(catalog: str) -> Iterator[None]:
    """Say what to do where a catalog is not there, or is not for everybody."""
    from databricks.sdk.errors.base import DatabricksError

    try:
        yield
    except DatabricksError as error:
        raise CloudError(
            f"there can be no volume in the catalog {catalog}: {_first_line(error)}; name another one: --catalog"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class Workspace:
    """The SDK's client, and where in the workspace a deployment's things are."""

    client: WorkspaceClient
    name: str
    catalog: str

    @property
    def schema(self) -> str:
        """The schema's full name, CATALOG.SCHEMA."""
        return f"{self.catalog}.{requests.schema_name(self.name)}"

    @property
    def volume(self) -> str:
        """The folder of the volume."""
        return f"/Volumes/{self.schema.replace('.', '/')}/{VOLUME}"

    def resolve(self, place: str) -> str:
        """Return a place as the machines see it: a relative one is of the volume. Raises CloudError.

        Object stores are refused: a workspace does not tell where a bucket lies.
        """
        if place.startswith("/Volumes/"):
            return place.rstrip("/")
        if scheme_of(place) != "file" or place.startswith(("/", "~", "..", "file:")):
            raise CloudError(
                f"{place}: photos and results lie in volumes here, as Databricks does not tell whether a bucket is "
                "in the European Union. Name a folder of the deployment's volume (raw/), or /Volumes/...; photos "
                f"get there by: databricks fs cp -r FOLDER dbfs:{self.volume}/raw"
            )
        return f"{self.volume}/{place.strip('/').removeprefix('./')}"

    def check_catalog(self) -> None:
        """Raise CloudError where the catalog is not there, SettingsError where it is one without volumes."""
        if self.catalog == _LEGACY:
            raise SettingsError("catalog", _LEGACY, "one of Unity Catalog: that one has no volumes")
        with _needing(self.catalog):
            self.client.catalogs.get(self.catalog)

    def make_volume(self) -> None:
        """Make the schema and the volume, where they are not there."""
        from databricks.sdk.service.catalog import VolumeType

        schema = requests.schema_name(self.name)
        with _needing(self.catalog):
            if self.schema not in self._schemas():
                self.client.schemas.create(schema, self.catalog, comment="verger")
            if VOLUME not in {volume.name for volume in self.client.volumes.list(self.catalog, schema)}:
                self.client.volumes.create(self.catalog, schema, VOLUME, VolumeType.MANAGED)

    def upload(self, package: Path, say: Say) -> None:
        """Copy the package into the volume, in the place of an older one."""
        files = sorted(file for file in package.rglob("*") if file.is_file())
        for file in files:
            target = f"{self.volume}/packages/{file.relative_to(package).as_posix()}"
            with file.open("rb") as content:
                self.client.files.upload(target, content, overwrite=True)
        say(f"{len(files)} files of the package in {self.volume}/packages")

    def download(self, source: str, folder: Path, say: Say) -> None:
        """Copy a result in the volume here, its manifest last; raises CloudError as `make_room` does."""
        names = sorted(self._files_below(source), key=lambda name: name == MANIFEST)
        make_room(source, folder, set(names))
        for name in names:
            with write_atomically(folder / name) as beside:
                self.client.files.download_to(f"{source}/{name}", str(beside), overwrite=True)
            say(str(folder / name))

    def _files_below(self, folder: str, above: str = "") -> Iterator[str]:
        for entry in self.client.files.list_directory_contents(folder):
            assert entry.path is not None
            name = posixpath.join(above, posixpath.basename(entry.path))
            if entry.is_directory:
                yield from self._files_below(entry.path, name)
            else:
                yield name

    def find_policy(self) -> str | None:
        """Return the id of the cluster policy; None where there is none."""
        title = requests.title(self.name)
        found = (policy.policy_id for policy in self.client.cluster_policies.list() if policy.name == title)
        return next(found, None)

    def policy_definition(self) -> str | None:
        """Return the policy's rules, as JSON."""
        policy = self.find_policy()
        return self.client.cluster_policies.get(policy).definition if policy else None

    def make_policy(self, spec: DeploymentSpec) -> str:
        """Make the policy, or bring it to what is wanted; return its id."""
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
        """Return the id of the job; None where there is none."""
        return next((job.job_id for job in self.client.jobs.list(name=requests.title(self.name))), None)

    def job_id(self) -> int:
        """Return the id of the job; raises CloudError where there is none."""
        job = self.find_job()
        if job is None:
            raise CloudError(
                f"there is no job {requests.title(self.name)}: verger cloud up --name {self.name} makes it"
            )
        return job

    def make_job(self, spec: DeploymentSpec, policy: str) -> None:
        """Make the job, or bring it to what is wanted."""
        from databricks.sdk.service.jobs import JobSettings

        settings = JobSettings.from_dict(requests.job_settings(spec, policy, self.volume))
        job = self.find_job()
        if job is None:
            # The client's own `create` takes every field as an argument; those that are not set are empty.
            self.client.jobs.create(**{key: value for key, value in vars(settings).items() if value})
        else:
            self.client.jobs.reset(job, settings)

    def clusters(self) -> list[str]:
        """Return the clusters that are not over and carry this deployment's tags."""
        marks = requests.tags(self.name).items()
        found = self.client.clusters.list()
        return [
            str(cluster.cluster_id)
            for cluster in found
            if marks <= (cluster.custom_tags or {}).items() and getattr(cluster.state, "value", "") != "TERMINATED"
        ]

    def remove_job(self, say: Say) -> None:
        """Stop its runs and wait for that, remove it, and clusters that somebody has made by the policy."""
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
            with contextlib.suppress(OperationFailed):  # it ends in an error of Databricks' own: it is over too
                stopping.result(timeout=_STOPPING)
        except TimeoutError as error:
            raise CloudError(
                f"run {run} still stops ({_first_line(error)}): `verger cloud down` tries again"
            ) from None

    def remove_policy(self, say: Say) -> None:
        """Remove the cluster policy."""
        policy = self.find_policy()
        if policy is not None:
            self.client.cluster_policies.delete(policy)
            say(f"removed cluster policy {requests.title(self.name)}")

    def remove_files(self, say: Say, *, keep_data: bool) -> None:
        """Remove the volume and its schema; what lies in a managed volume goes with it."""
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
        """Return what the workspace still lists of the deployment."""
        from databricks.sdk.errors import NotFound

        left = [Leftover("cluster", cluster) for cluster in self.clusters()]
        if (job := self.find_job()) is not None:
            left.append(Leftover("job", str(job)))
        with contextlib.suppress(NotFound):  # the catalog itself
            if not keep_data and self.schema in self._schemas():
                left.append(Leftover("schema", self.schema))
        return left

    def _schemas(self) -> set[str | None]:
        return {schema.full_name for schema in self.client.schemas.list(self.catalog)}
