"""Databricks, by its SDK, on a workspace of our own: from `up` to nothing left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from databricks.sdk.mixins.files import FilesExt
from typer.testing import CliRunner

from tests.cloud.databricks.databricks_server import Workspace
from tests.cloud.stub import Stub, serving
from verger.cli import app
from verger.cloud.databricks import Databricks
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.errors import CloudError, SettingsError, SetupError

pytestmark = pytest.mark.cloud

SHAPE = Shape(workers=2, machine="m5.xlarge", primary="m5.xlarge", max_workers=6)
VOLUME = "/Volumes/orchard/verger_late_apples/files"
OUT = f"{VOLUME}/results/out"


@pytest.fixture
def workspace() -> Workspace:
    return Workspace()


@pytest.fixture
def server(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    monkeypatch.setenv("DATABRICKS_TOKEN", "not-a-token")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    with serving(workspace.routes) as stub:
        yield stub


@pytest.fixture
def spec(server: Stub) -> DeploymentSpec:
    return DeploymentSpec(
        "late-apples", "databricks", "eu-west-3", "job", SHAPE, email="a@b.eu", workspace=server.url
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "wheels").mkdir(parents=True)
    for name in ("main.py", "init.sh", "wheels/verger-0.1.0-py3-none-any.whl"):
        (folder / name).write_text(f"content of {name}")
    (folder / "package.json").write_text(
        json.dumps({"python": "3.12", "spark": "4.0", "arch": "x86_64", "files": {}})
    )
    return folder


def test_from_up_to_nothing_left(spec: DeploymentSpec, workspace: Workspace, package: Path, tmp_path: Path) -> None:
    cloud, said = Databricks(), list[str]()
    cloud.up(spec, package, said.append)
    assert workspace.files[f"{VOLUME}/packages/wheels/verger-0.1.0-py3-none-any.whl"].startswith(b"content of")
    assert cloud.status(spec).is_billable is False, "between jobs nothing costs"
    assert cloud.status(spec).data_uri == VOLUME

    run = cloud.submit(
        spec, JobSpec("run", "/Volumes/orchard/photos/files/raw/", "results/out", ("--components", "50"))
    )
    parameters = workspace.runs[int(run)]["overriding_parameters"]["python_params"]
    assert parameters == ["run", "/Volumes/orchard/photos/files/raw", OUT, "--components", "50"]
    waiting = cloud.status(spec)
    assert (waiting.is_billable, [job.state for job in waiting.jobs]) == (True, ["waiting"])

    workspace.finish(int(run), logs="16480 photos\nwritten")
    workspace.files |= {f"{OUT}/manifest.json": b"{}", f"{OUT}/components/part-0.parquet": b"PAR1"}
    done = cloud.status(spec)
    assert (done.is_billable, done.jobs[0].state, done.jobs[0].id) == (False, "done", run)
    assert list(cloud.logs(spec, run)) == ["16480 photos", "written"]
    cloud.fetch(spec, OUT, tmp_path / "here", said.append)
    assert (tmp_path / "here" / "components" / "part-0.parquet").read_bytes() == b"PAR1"

    assert cloud.down(spec, said.append, keep_data=False) == []
    nothing = (workspace.files, workspace.schemas, workspace.volumes, workspace.policies, workspace.jobs)
    assert not any(nothing)


def test_up_again_brings_it_to_what_is_wanted(spec: DeploymentSpec, workspace: Workspace, package: Path) -> None:
    Databricks().up(spec, package, lambda _: None)
    Databricks().up(replace(spec, idle_minutes=30, max_hours=1), package, lambda _: None)
    (settings,), (policy,) = workspace.jobs.values(), workspace.policies.values()
    assert settings.as_dict()["tasks"][0]["timeout_seconds"] == 3600
    assert json.loads(policy["definition"])["autotermination_minutes"]["value"] == 30


def test_a_failed_run_says_why(spec: DeploymentSpec, workspace: Workspace, package: Path) -> None:
    cloud = Databricks()
    cloud.up(spec, package, lambda _: None)
    run = int(cloud.submit(spec, JobSpec("run", "raw", "out")))
    workspace.finish(run, "RUN_EXECUTION_ERROR", error="SourceError: raw: no photos", error_trace="Traceback")
    (job,) = cloud.status(spec).jobs
    assert (job.state, job.detail) == ("failed", "RUN_EXECUTION_ERROR")
    assert "SourceError: raw: no photos" in list(cloud.logs(spec, str(run)))


def test_down_stops_what_runs_and_keeps_the_data_where_asked(
    spec: DeploymentSpec, workspace: Workspace, package: Path
) -> None:
    cloud = Databricks()
    cloud.up(spec, package, lambda _: None)
    run = int(cloud.submit(spec, JobSpec("run", "raw", "out")))
    tags = {"project": "verger", "deployment": "late-apples"}
    workspace.clusters = {
        "mine": {"cluster_id": "mine", "state": "RUNNING", "custom_tags": tags},
        "other": {"cluster_id": "other", "state": "RUNNING", "custom_tags": {"project": "verger"}},
    }
    assert cloud.down(spec, lambda _: None, keep_data=True) == []
    assert workspace.runs[run]["status"]["state"] == "TERMINATED"
    assert list(workspace.clusters) == ["other"], "nobody else's cluster is touched"
    assert f"{VOLUME}/packages/main.py" in workspace.files and not workspace.jobs and not workspace.policies
    assert cloud.down(spec, lambda _: None, keep_data=False) == [], "what is gone already is no error"


def test_down_goes_on_where_a_stopped_run_ends_in_an_error(
    spec: DeploymentSpec, workspace: Workspace, package: Path
) -> None:
    Databricks().up(spec, package, lambda _: None)
    Databricks().submit(spec, JobSpec("run", "raw", "out"))
    workspace.ending = "INTERNAL_ERROR"
    assert Databricks().down(spec, lambda _: None, keep_data=False) == []
    assert not workspace.policies and not workspace.volumes


def test_down_removes_nothing_under_a_run_that_does_not_stop(
    spec: DeploymentSpec, workspace: Workspace, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Databricks().up(spec, package, lambda _: None)
    run = Databricks().submit(spec, JobSpec("run", "raw", "out"))
    workspace.ending = "TERMINATING"
    monkeypatch.setattr("verger.cloud.databricks.workspace._STOP_TIMEOUT", timedelta(seconds=0.1))
    with pytest.raises(CloudError, match=f"run {run} has not stopped yet .*`verger cloud down` tries again"):
        Databricks().down(spec, lambda _: None, keep_data=False)
    assert workspace.jobs and workspace.policies


@pytest.mark.parametrize("place", ["s3://far/raw", "s3a://far/raw", "gs://far/raw", "dbfs:/raw", "/home/me/raw"])
def test_photos_and_results_are_in_volumes_alone(
    place: str, spec: DeploymentSpec, workspace: Workspace, package: Path, tmp_path: Path
) -> None:
    cloud = Databricks()
    cloud.up(spec, package, lambda _: None)
    for job in (JobSpec("run", place, "out"), JobSpec("run", "raw", place)):
        with pytest.raises(CloudError, match=f"{place}: .*volume.*databricks fs cp"):
            cloud.submit(spec, job)
    with pytest.raises(CloudError, match="databricks fs cp"):
        cloud.fetch(spec, place, tmp_path / "here", lambda _: None)
    assert not workspace.runs


def test_two_results_are_not_mixed_in_a_folder(spec: DeploymentSpec, workspace: Workspace, tmp_path: Path) -> None:
    for result, name in (("first", "part-0.parquet"), ("second", "part-1.parquet")):
        files = (f"photos/{name}", "manifest.json")
        workspace.files |= {f"{VOLUME}/results/{result}/{file}": b"PAR1" for file in files}
    cloud, out = Databricks(), tmp_path / "out"
    for _ in range(2):
        cloud.fetch(spec, "results/first", out, lambda _: None)
    with pytest.raises(CloudError, match=r"files of another result \(photos/part-0.parquet\)"):
        cloud.fetch(spec, "results/second/", out, lambda _: None)
    assert [file.name for file in (out / "photos").iterdir()] == ["part-0.parquet"]


def test_half_a_result_is_not_fetched_and_a_broken_fetch_leaves_no_cut_file(
    spec: DeploymentSpec, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.files[f"{OUT}/features/part-0.parquet"] = b"PAR1 and more"
    with pytest.raises(CloudError, match=r"not a complete result: it has no manifest\.json"):
        Databricks().fetch(spec, OUT, tmp_path / "here", lambda _: None)
    assert not (tmp_path / "here").exists()

    def interrupted(_: FilesExt, source: str, destination: str, *, overwrite: bool) -> None:
        Path(destination).write_bytes(workspace.files[source][:4])
        raise KeyboardInterrupt

    workspace.files[f"{OUT}/manifest.json"] = b"{}"
    monkeypatch.setattr(FilesExt, "download_to", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Databricks().fetch(spec, OUT, tmp_path / "here", lambda _: None)
    assert [path.name for path in (tmp_path / "here").rglob("*")] == ["features"]


def test_the_volume_is_in_the_catalog_that_is_named(
    spec: DeploymentSpec, workspace: Workspace, package: Path
) -> None:
    workspace.catalogs, other = ("orchard", "fruit"), replace(spec, catalog="fruit")
    cloud = Databricks()
    assert "fruit.verger_late_apples" in [thing.name for thing in cloud.plan(other)]
    cloud.check(other)
    cloud.up(other, package, lambda _: None)
    assert list(workspace.volumes) == ["fruit.verger_late_apples.files"]
    assert cloud.down(other, lambda _: None, keep_data=False) == [] and not workspace.schemas


def test_a_catalog_without_volumes_is_never_taken(
    spec: DeploymentSpec, workspace: Workspace, package: Path
) -> None:
    workspace.default_catalog = "hive_metastore"
    for make in (Databricks().check, lambda other: Databricks().up(other, package, lambda _: None)):
        with pytest.raises(
            CloudError, match=r"catalog main \(Catalog 'main' is not there\): choose another --catalog"
        ):
            make(spec)
    with pytest.raises(SettingsError, match="catalog = 'hive_metastore'"):
        Databricks().check(replace(spec, catalog="hive_metastore"))
    assert Databricks().down(spec, lambda _: None, keep_data=False) == [], "nothing is there"
    workspace.catalogs = ("main",)
    Databricks().up(spec, package, lambda _: None)
    assert list(workspace.volumes) == ["main.verger_late_apples.files"]


def test_a_workspace_that_does_not_answer_is_named(spec: DeploymentSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verger.cloud.databricks.workspace._RETRY_S", 1)
    with pytest.raises(CloudError, match=r"http://127\.0\.0\.1:9 does not answer: check the address"):
        Databricks().check(replace(spec, workspace="http://127.0.0.1:9"))


def test_guard_finds_what_was_changed_by_hand(spec: DeploymentSpec, workspace: Workspace, package: Path) -> None:
    cloud = Databricks()
    assert not all(found.is_ok for found in cloud.guard(spec)), "nothing is there yet"
    cloud.up(spec, package, lambda _: None)
    assert all(found.is_ok for found in cloud.guard(spec))

    (policy,) = workspace.policies.values()
    policy["definition"] = json.dumps(json.loads(policy["definition"]) | {"autotermination_minutes": {}})
    (settings,) = workspace.jobs.values()
    assert settings.tasks
    settings.tasks[0].timeout_seconds = 0
    workspace.region = "us-east-1"
    wrong = {found.check: found.detail for found in cloud.guard(spec) if not found.is_ok}
    assert set(wrong) == {"region in the EU", "idle clusters end", "runs have a time limit"}
    assert wrong["region in the EU"] == "us-east-1"


def test_the_whole_way_by_the_command_line(
    server: Stub, workspace: Workspace, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_STATE", str(tmp_path / "state"))
    asked = ("--provider", "databricks", "--workspace", server.url, "--name", "late-apples")
    assert "verger_late_apples.files" in verger_output("plan", *asked)
    verger_output("up", *asked, "--package", str(package), "--yes")
    verger_output("submit", "raw/", "results/out", "--yes")
    (run,) = workspace.runs
    workspace.finish(run, logs="16480 photos")
    workspace.files[f"{OUT}/manifest.json"] = b"{}"
    assert json.loads(verger_output("status", "--json"))["jobs"][0]["state"] == "done"
    assert verger_output("logs") == "16480 photos\n"
    verger_output("fetch", "results/out", str(tmp_path / "here"))
    assert (tmp_path / "here" / "manifest.json").is_file()
    assert "eu-west-3" in verger_output("guard")
    verger_output("down", "--yes")
    assert not workspace.jobs and not workspace.schemas


def verger_output(*words: str) -> str:
    done = CliRunner().invoke(app, ["cloud", *words], terminal_width=200)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_without_the_extra_a_plan_is_made_and_no_more(
    spec: DeploymentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("databricks.sdk", "databricks.sdk.errors.base"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "verger-late-apples" in [thing.name for thing in Databricks().plan(spec)]
    for ask in (Databricks().check, Databricks().status, Databricks().guard):
        with pytest.raises(SetupError, match=r"pip install 'verger\[databricks\]'"):
            ask(spec)


def test_a_workspace_outside_the_eu_gets_nothing(spec: DeploymentSpec, workspace: Workspace, package: Path) -> None:
    workspace.region = "eu-west-2"
    with pytest.raises(CloudError, match=r"eu-west-2.*London.*not in the European Union"):
        Databricks().up(spec, package, lambda _: None)
    assert not workspace.files and not workspace.schemas
    workspace.region = "eu-central-1"
    with pytest.raises(CloudError, match="workspace is in eu-central-1"):
        Databricks().up(spec, package, lambda _: None)


def test_refusals_and_missing_credentials_are_said_in_words(
    spec: DeploymentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        CloudError, match="the job verger-late-apples does not exist: verger cloud up --name late-apples"
    ):
        Databricks().submit(spec, JobSpec("run", "raw", "out"))
    with pytest.raises(CloudError, match=r"output of run 7: Run 7 does not exist"):
        list(Databricks().logs(spec, "7"))
    monkeypatch.delenv("DATABRICKS_TOKEN")
    with pytest.raises(SetupError, match="no credentials for Databricks: set DATABRICKS_HOST"):
        Databricks().status(spec)
