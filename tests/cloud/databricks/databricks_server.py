"""A Databricks workspace of our own, as far as verger asks one; the SDK's own types say what it knows."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from databricks.sdk.service import catalog, compute, jobs
from databricks.sdk.service.jobs import JobSettings

from tests.cloud.stub import RefusedError, Reply, Request, Routes

FILES = r"/api/2\.0/fs/files(/.+)"
FOLDERS = r"/api/2\.0/fs/directories(/.+)"


@dataclass
class Workspace:
    """What is in it; a run waits at first, and a test says what becomes of it."""

    region: str = "eu-west-3"
    catalogs: tuple[str, ...] = ("orchard",)
    default_catalog: str = "orchard"
    ending: str = "TERMINATED"  # of a run that is stopped
    files: dict[str, bytes] = field(default_factory=dict)
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[int, JobSettings] = field(default_factory=dict)
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(1001))

    @property
    def routes(self) -> Routes:
        catalogue, work = r"/api/2\.1/unity-catalog", r"/api/2\.[12]/jobs"
        return {
            r"GET /.well-known/databricks-config": lambda _: {"oidc_endpoint": "", "workspace_id": "1"},
            rf"GET {catalogue}/metastore_summary": lambda _: {"region": self.region, "cloud": "aws", "name": "eu"},
            rf"GET {catalogue}/current-metastore-assignment": self._assignment,
            rf"GET {catalogue}/catalogs/(.+)": self._get_catalog,
            rf"POST {catalogue}/schemas": self._make_schema,
            rf"GET {catalogue}/schemas": self._list_schemas,
            rf"DELETE {catalogue}/schemas/(.+)": self._delete_schema,
            rf"POST {catalogue}/volumes": self._make_volume,
            rf"GET {catalogue}/volumes": self._list_volumes,
            rf"DELETE {catalogue}/volumes/(.+)": self._delete_volume,
            rf"PUT {FILES}": self._put,
            rf"HEAD {FILES}": self._get,
            rf"GET {FILES}": self._get,
            r"POST /api/2\.0/fs/create-download-url": self._lend,
            r"GET /lent(/.+)": self._get,
            rf"GET {FOLDERS}": self._list,
            r"POST /api/2\.0/policies/clusters/create": self._make_policy,
            r"POST /api/2\.0/policies/clusters/edit": self._edit_policy,
            r"POST /api/2\.0/policies/clusters/delete": self._delete_policy,
            r"GET /api/2\.0/policies/clusters/list": self._list_policies,
            r"GET /api/2\.0/policies/clusters/get": self._get_policy,
            rf"POST {work}/create": self._make_job,
            rf"POST {work}/reset": self._reset_job,
            rf"POST {work}/delete": self._delete_job,
            rf"GET {work}/list": self._list_jobs,
            rf"GET {work}/get": self._get_job,
            rf"POST {work}/run-now": self._run_now,
            rf"POST {work}/runs/cancel": self._cancel,
            rf"GET {work}/runs/list": self._list_runs,
            rf"GET {work}/runs/get": self._get_run,
            rf"GET {work}/runs/get-output": lambda request: self.outputs[int(request.query["run_id"])],
            r"GET /api/2\.1/clusters/list": lambda _: {"clusters": list(self.clusters.values())},
            r"POST /api/2\.1/clusters/permanent-delete": self._delete_cluster,
        }

    def finish(self, run: int, code: str = "SUCCESS", logs: str = "", **output: str) -> None:
        """Let a run end."""
        content = self.runs[run]
        details = {"code": code, "type": "SUCCESS" if code == "SUCCESS" else "CLIENT_ERROR", "message": code}
        content["status"] = {"state": "TERMINATED", "termination_details": details}
        content["state"] = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
        content["end_time"] = content["start_time"] + 60_000
        self.outputs[run + 1] = {"logs": logs, **output}

    def _assignment(self, _: Request) -> object:
        return {"workspace_id": 1, "metastore_id": "m", "default_catalog_name": self.default_catalog}

    def _get_catalog(self, request: Request) -> object:
        return {"name": self._catalog(request.groups[0])}

    def _catalog(self, name: str) -> str:
        if name not in self.catalogs:
            raise RefusedError(
                404, {"error_code": "CATALOG_DOES_NOT_EXIST", "message": f"Catalog '{name}' is not there"}
            )
        return name

    def _make_schema(self, request: Request) -> object:
        fields = _known(catalog.SchemasAPI.create, request)
        name = f"{self._catalog(fields['catalog_name'])}.{fields['name']}"
        if name in self.schemas:
            raise RefusedError(400, {"error_code": "SCHEMA_ALREADY_EXISTS", "message": name})
        self.schemas[name] = fields
        return {"full_name": name}

    def _list_schemas(self, request: Request) -> object:
        found = (
            name for name in self.schemas if name.startswith(f"{self._catalog(request.query['catalog_name'])}.")
        )
        return {"schemas": [{"full_name": name} for name in found]}

    def _delete_schema(self, request: Request) -> object:
        (name,) = request.groups
        if any(volume.startswith(f"{name}.") for volume in self.volumes):
            raise RefusedError(400, {"error_code": "SCHEMA_NOT_EMPTY", "message": f"{name} is not empty"})
        return _take(self.schemas, name)

    def _make_volume(self, request: Request) -> object:
        fields = _known(catalog.VolumesAPI.create, request)
        schema, name = f"{fields['catalog_name']}.{fields['schema_name']}", fields["name"]
        if schema not in self.schemas:
            raise RefusedError(404, {"error_code": "SCHEMA_DOES_NOT_EXIST", "message": schema})
        if f"{schema}.{name}" in self.volumes:
            raise RefusedError(400, {"error_code": "VOLUME_ALREADY_EXISTS", "message": schema})
        self.volumes[f"{schema}.{name}"] = fields
        return {"full_name": f"{schema}.{name}"}

    def _list_volumes(self, request: Request) -> object:
        schema = f"{request.query['catalog_name']}.{request.query['schema_name']}"
        found = [name for name in self.volumes if name.startswith(f"{schema}.")]
        return {"volumes": [{"full_name": name, "name": name.rpartition(".")[2]} for name in found]}

    def _delete_volume(self, request: Request) -> object:
        (name,) = request.groups
        folder = f"/Volumes/{name.replace('.', '/')}/"
        self.files = {path: data for path, data in self.files.items() if not path.startswith(folder)}
        return _take(self.volumes, name)

    def _put(self, request: Request) -> object:
        (path,) = request.groups
        assert any(path.startswith(f"/Volumes/{name.replace('.', '/')}/") for name in self.volumes), path
        self.files[path] = request.body
        return {}

    def _get(self, request: Request) -> Reply:
        (path,) = request.groups
        if path not in self.files:
            raise RefusedError(404, {"error_code": "NOT_FOUND", "message": f"{path} does not exist"})
        return Reply(self.files[path])

    def _lend(self, request: Request) -> object:
        """An address of the cloud's own store, which needs no token."""
        return {"url": f"http://{request.host}/lent{request.query['path']}", "headers": []}

    def _list(self, request: Request) -> object:
        folder = request.groups[0].rstrip("/") + "/"
        below = [path.removeprefix(folder) for path in self.files if path.startswith(folder)]
        if not below:
            raise RefusedError(404, {"error_code": "NOT_FOUND", "message": f"{folder} does not exist"})
        names = sorted({name.partition("/")[0] for name in below})
        is_folder = {name: folder + name not in self.files for name in names}
        return {
            "contents": [{"path": folder + name, "name": name, "is_directory": is_folder[name]} for name in names]
        }

    def _make_policy(self, request: Request) -> object:
        policy = str(next(self.ids))
        self.policies[policy] = _known(compute.ClusterPoliciesAPI.create, request)
        return {"policy_id": policy}

    def _edit_policy(self, request: Request) -> object:
        fields = _known(compute.ClusterPoliciesAPI.edit, request)
        assert fields["policy_id"] in self.policies
        self.policies[fields.pop("policy_id")] = fields
        return {}

    def _delete_policy(self, request: Request) -> object:
        return _take(self.policies, str(request.json["policy_id"]))

    def _list_policies(self, _: Request) -> object:
        return {"policies": [{"policy_id": key, "name": policy["name"]} for key, policy in self.policies.items()]}

    def _get_policy(self, request: Request) -> object:
        policy = request.query["policy_id"]
        return {"policy_id": policy, **self.policies[policy]}

    def _make_job(self, request: Request) -> object:
        job = next(self.ids)
        self.jobs[job] = self._settings(request.json)
        return {"job_id": job}

    def _reset_job(self, request: Request) -> object:
        fields: Any = request.json
        assert fields["job_id"] in self.jobs
        self.jobs[fields["job_id"]] = self._settings(fields["new_settings"])
        return {}

    def _settings(self, content: dict[str, Any]) -> JobSettings:
        settings = JobSettings.from_dict(content)
        assert settings.as_dict() == content, f"the SDK knows {settings.as_dict()}, and got {content}"
        for cluster in content["job_clusters"]:
            assert cluster["new_cluster"]["policy_id"] in self.policies
        for task in content["tasks"]:
            assert task["spark_python_task"]["python_file"] in self.files
        return settings

    def _delete_job(self, request: Request) -> object:
        fields: Any = request.json
        return _take(self.jobs, fields["job_id"])

    def _list_jobs(self, request: Request) -> object:
        name = request.query.get("name")
        found = [job for job, settings in self.jobs.items() if name in (None, settings.name)]
        return {"jobs": [{"job_id": job} for job in found], "has_more": False}

    def _get_job(self, request: Request) -> object:
        job = int(request.query["job_id"])
        return {"job_id": job, "settings": self.jobs[job].as_dict()}

    def _run_now(self, request: Request) -> object:
        fields = _known(jobs.JobsAPI.run_now, request)
        assert fields["job_id"] in self.jobs
        run = 10 * next(self.ids)
        self.runs[run] = {
            "run_id": run,
            "job_id": fields["job_id"],
            "status": {"state": "PENDING"},
            "state": {"life_cycle_state": "PENDING"},
            "start_time": 1_764_000_000_000 + run,
            "tasks": [{"task_key": "verger", "run_id": run + 1}],
            "overriding_parameters": {"python_params": fields["python_params"]},
        }
        return {"run_id": run, "number_in_job": run}

    def _cancel(self, request: Request) -> object:
        fields: Any = request.json
        self.finish(fields["run_id"], "USER_CANCELED")
        self.runs[fields["run_id"]]["state"]["life_cycle_state"] = self.ending
        return {}

    def _list_runs(self, request: Request) -> object:
        job, is_active = int(request.query["job_id"]), request.query.get("active_only") == "true"
        found = [run for run in self.runs.values() if run["job_id"] == job]
        active = [run for run in found if not is_active or run["status"]["state"] != "TERMINATED"]
        return {"runs": active[::-1], "has_more": False}

    def _get_run(self, request: Request) -> object:
        run = int(request.query["run_id"])
        if run not in self.runs:
            raise RefusedError(
                400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"Run {run} does not exist."}
            )
        return self.runs[run]

    def _delete_cluster(self, request: Request) -> object:
        return _take(self.clusters, str(request.json["cluster_id"]))


def _known(method: Callable[..., object], request: Request) -> dict[str, Any]:
    unknown = request.json.keys() - inspect.signature(method).parameters.keys()
    assert not unknown, f"{method.__qualname__} knows no {unknown}"
    return request.json


def _take(things: dict[Any, Any], key: object) -> object:
    if things.pop(key, None) is None:
        raise RefusedError(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"{key} does not exist"})
    return {}
