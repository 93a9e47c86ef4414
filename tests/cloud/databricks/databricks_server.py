"""A Databricks workspace of our own, as far as verger asks one; the SDK's own types say what it knows."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from databricks.sdk.service import catalog, compute, jobs
from databricks.sdk.service.jobs import JobSettings

from tests.cloud.stub import Asked, RefusedError, Reply, Routes

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
            rf"GET {work}/runs/get-output": lambda asked: self.outputs[int(asked.query["run_id"])],
            r"GET /api/2\.1/clusters/list": lambda _: {"clusters": list(self.clusters.values())},
            r"POST /api/2\.1/clusters/permanent-delete": self._delete_cluster,
        }

    def finish(self, run: int, code: str = "SUCCESS", logs: str = "", **output: str) -> None:
        """Let a run end."""
        told = self.runs[run]
        details = {"code": code, "type": "SUCCESS" if code == "SUCCESS" else "CLIENT_ERROR", "message": code}
        told["status"] = {"state": "TERMINATED", "termination_details": details}
        told["state"] = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
        told["end_time"] = told["start_time"] + 60_000
        self.outputs[run + 1] = {"logs": logs, **output}

    def _assignment(self, _: Asked) -> object:
        return {"workspace_id": 1, "metastore_id": "m", "default_catalog_name": self.default_catalog}

    def _get_catalog(self, asked: Asked) -> object:
        return {"name": self._catalog(asked.groups[0])}

    def _catalog(self, name: str) -> str:
        if name not in self.catalogs:
            raise RefusedError(
                404, {"error_code": "CATALOG_DOES_NOT_EXIST", "message": f"Catalog '{name}' is not there"}
            )
        return name

    def _make_schema(self, asked: Asked) -> object:
        wanted = _known(catalog.SchemasAPI.create, asked)
        name = f"{self._catalog(wanted['catalog_name'])}.{wanted['name']}"
        if name in self.schemas:
            raise RefusedError(400, {"error_code": "SCHEMA_ALREADY_EXISTS", "message": name})
        self.schemas[name] = wanted
        return {"full_name": name}

    def _list_schemas(self, asked: Asked) -> object:
        found = (name for name in self.schemas if name.startswith(f"{self._catalog(asked.query['catalog_name'])}."))
        return {"schemas": [{"full_name": name} for name in found]}

    def _delete_schema(self, asked: Asked) -> object:
        (name,) = asked.groups
        if any(volume.startswith(f"{name}.") for volume in self.volumes):
            raise RefusedError(400, {"error_code": "SCHEMA_NOT_EMPTY", "message": f"{name} is not empty"})
        return _take(self.schemas, name)

    def _make_volume(self, asked: Asked) -> object:
        wanted = _known(catalog.VolumesAPI.create, asked)
        schema, name = f"{wanted['catalog_name']}.{wanted['schema_name']}", wanted["name"]
        if schema not in self.schemas:
            raise RefusedError(404, {"error_code": "SCHEMA_DOES_NOT_EXIST", "message": schema})
        if f"{schema}.{name}" in self.volumes:
            raise RefusedError(400, {"error_code": "VOLUME_ALREADY_EXISTS", "message": schema})
        self.volumes[f"{schema}.{name}"] = wanted
        return {"full_name": f"{schema}.{name}"}

    def _list_volumes(self, asked: Asked) -> object:
        schema = f"{asked.query['catalog_name']}.{asked.query['schema_name']}"
        found = [name for name in self.volumes if name.startswith(f"{schema}.")]
        return {"volumes": [{"full_name": name, "name": name.rpartition(".")[2]} for name in found]}

    def _delete_volume(self, asked: Asked) -> object:
        (name,) = asked.groups
        folder = f"/Volumes/{name.replace('.', '/')}/"
        self.files = {path: data for path, data in self.files.items() if not path.startswith(folder)}
        return _take(self.volumes, name)

    def _put(self, asked: Asked) -> object:
        (path,) = asked.groups
        assert any(path.startswith(f"/Volumes/{name.replace('.', '/')}/") for name in self.volumes), path
        self.files[path] = asked.body
        return {}

    def _get(self, asked: Asked) -> Reply:
        (path,) = asked.groups
        if path not in self.files:
            raise RefusedError(404, {"error_code": "NOT_FOUND", "message": f"{path} does not exist"})
        return Reply(self.files[path])

    def _lend(self, asked: Asked) -> object:
        """An address of the cloud's own store, which needs no token."""
        return {"url": f"http://{asked.host}/lent{asked.query['path']}", "headers": []}

    def _list(self, asked: Asked) -> object:
        folder = asked.groups[0].rstrip("/") + "/"
        below = [path.removeprefix(folder) for path in self.files if path.startswith(folder)]
        if not below:
            raise RefusedError(404, {"error_code": "NOT_FOUND", "message": f"{folder} does not exist"})
        names = sorted({name.partition("/")[0] for name in below})
        is_folder = {name: folder + name not in self.files for name in names}
        return {
            "contents": [{"path": folder + name, "name": name, "is_directory": is_folder[name]} for name in names]
        }

    def _make_policy(self, asked: Asked) -> object:
        policy = str(next(self.ids))
        self.policies[policy] = _known(compute.ClusterPoliciesAPI.create, asked)
        return {"policy_id": policy}

    def _edit_policy(self, asked: Asked) -> object:
        wanted = _known(compute.ClusterPoliciesAPI.edit, asked)
        assert wanted["policy_id"] in self.policies
        self.policies[wanted.pop("policy_id")] = wanted
        return {}

    def _delete_policy(self, asked: Asked) -> object:
        return _take(self.policies, str(asked.json["policy_id"]))

    def _list_policies(self, _: Asked) -> object:
        return {"policies": [{"policy_id": key, "name": policy["name"]} for key, policy in self.policies.items()]}

    def _get_policy(self, asked: Asked) -> object:
        policy = asked.query["policy_id"]
        return {"policy_id": policy, **self.policies[policy]}

    def _make_job(self, asked: Asked) -> object:
        job = next(self.ids)
        self.jobs[job] = self._settings(asked.json)
        return {"job_id": job}

    def _reset_job(self, asked: Asked) -> object:
        wanted: Any = asked.json
        assert wanted["job_id"] in self.jobs
        self.jobs[wanted["job_id"]] = self._settings(wanted["new_settings"])
        return {}

    def _settings(self, told: dict[str, Any]) -> JobSettings:
        settings = JobSettings.from_dict(told)
        assert settings.as_dict() == told, f"the SDK knows {settings.as_dict()}, and got {told}"
        for cluster in told["job_clusters"]:
            assert cluster["new_cluster"]["policy_id"] in self.policies
        for task in told["tasks"]:
            assert task["spark_python_task"]["python_file"] in self.files
        return settings

    def _delete_job(self, asked: Asked) -> object:
        wanted: Any = asked.json
        return _take(self.jobs, wanted["job_id"])

    def _list_jobs(self, asked: Asked) -> object:
        name = asked.query.get("name")
        found = [job for job, settings in self.jobs.items() if name in (None, settings.name)]
        return {"jobs": [{"job_id": job} for job in found], "has_more": False}

    def _get_job(self, asked: Asked) -> object:
        job = int(asked.query["job_id"])
        return {"job_id": job, "settings": self.jobs[job].as_dict()}

    def _run_now(self, asked: Asked) -> object:
        wanted = _known(jobs.JobsAPI.run_now, asked)
        assert wanted["job_id"] in self.jobs
        run = 10 * next(self.ids)
        self.runs[run] = {
            "run_id": run,
            "job_id": wanted["job_id"],
            "status": {"state": "PENDING"},
            "state": {"life_cycle_state": "PENDING"},
            "start_time": 1_764_000_000_000 + run,
            "tasks": [{"task_key": "verger", "run_id": run + 1}],
            "overriding_parameters": {"python_params": wanted["python_params"]},
        }
        return {"run_id": run, "number_in_job": run}

    def _cancel(self, asked: Asked) -> object:
        wanted: Any = asked.json
        self.finish(wanted["run_id"], "USER_CANCELED")
        self.runs[wanted["run_id"]]["state"]["life_cycle_state"] = self.ending
        return {}

    def _list_runs(self, asked: Asked) -> object:
        job, is_active = int(asked.query["job_id"]), asked.query.get("active_only") == "true"
        found = [run for run in self.runs.values() if run["job_id"] == job]
        active = [run for run in found if not is_active or run["status"]["state"] != "TERMINATED"]
        return {"runs": active[::-1], "has_more": False}

    def _get_run(self, asked: Asked) -> object:
        run = int(asked.query["run_id"])
        if run not in self.runs:
            raise RefusedError(
                400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"Run {run} does not exist."}
            )
        return self.runs[run]

    def _delete_cluster(self, asked: Asked) -> object:
        return _take(self.clusters, str(asked.json["cluster_id"]))


def _known(method: Callable[..., object], asked: Asked) -> dict[str, Any]:
    unknown = asked.json.keys() - inspect.signature(method).parameters.keys()
    assert not unknown, f"{method.__qualname__} knows no {unknown}"
    return asked.json


def _take(things: dict[Any, Any], key: object) -> object:
    if things.pop(key, None) is None:
        raise RefusedError(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"{key} does not exist"})
    return {}
