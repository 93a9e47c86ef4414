"""Google Cloud by its own clients, on a Dataproc and a Cloud Storage of our own: from `up` to nothing left.

Terraform is the real one, on what in infra/gcp needs no provider, since Google's is not there. What it would have
made, the bucket, is made by the test.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from google.cloud import dataproc_v1 as dataproc
from typer.testing import CliRunner

from tests.cloud.gcp.dataproc_server import Dataproc
from tests.cloud.gcp.gcs_server import Store, serving_store
from tests.cloud.stub import Stub
from tests.support.chain import store_at
from verger.cli import app
from verger.cloud.deploy import terraform
from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.cloud.gcp import Gcp, stack
from verger.cloud.gcp.upload import pack_site
from verger.errors import CloudError, SettingsError, SetupError

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

PROJECT = "orchard-eu"
SPEC = DeploymentSpec(
    name="apples",
    provider="gcp",
    region="europe-west9",
    engine="dataproc",
    shape=Shape(2, "n2-standard-4", "n2-standard-4", max_workers=6),
    email="me@example.org",
    project=PROJECT,
)
BUCKET = "verger-apples-orchard-eu"
LABELS = {"project": "verger", "deployment": "apples"}


@pytest.fixture
def dataproc_() -> Dataproc:
    return Dataproc()


@pytest.fixture
def store() -> Store:
    store = Store()
    store.make(
        BUCKET,
        location="EUROPE-WEST9",
        labels=LABELS,
        versioning={"enabled": True},
        lifecycle={"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7}}]},
        iamConfiguration={
            "publicAccessPrevention": "enforced",
            "uniformBucketLevelAccess": {"enabled": True},
        },
    )
    return store


@pytest.fixture(autouse=True)
def server(dataproc_: Dataproc, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    monkeypatch.setattr(stack, "infra_folder", lambda _: without_google(tmp_path / "module"))
    monkeypatch.setenv("VERGER_STATE", str(tmp_path / "state"))
    with serving_store(store, dataproc_.routes) as stub, store_at("GOOGLE_", {"STORAGE_EMULATOR_HOST": stub.url}):
        for service in ("DATAPROC", "COMPUTE"):
            monkeypatch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}", stub.url)
        yield stub


def without_google(module: Path) -> Path:
    """Make a module of what in infra/gcp needs no provider: its variables, and what it reckons from them."""
    module.mkdir(exist_ok=True)
    real = terraform.infra_folder("gcp")
    shutil.copy(real / "variables.tf", module)
    found = re.search(r"^locals \{.*?^\}$", (real / "versions.tf").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    names = ("title", "grows", "computes", "alerting")
    outputs = [f'output "{name}" {{\n  value = local.{name}\n}}' for name in names]
    (module / "main.tf").write_text("\n".join([found[0], *outputs]))
    return module


def package(folder: Path, python: str, spark: str) -> Path:
    (folder / "wheels").mkdir(parents=True)
    for name in ("main.py", "init.sh"):
        (folder / name).write_text(f"content of {name}")
    with zipfile.ZipFile(folder / "wheels" / "verger-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("verger/__init__.py", "")
    (folder / "package.json").write_text(
        json.dumps({"python": python, "spark": spark, "arch": "x86_64", "files": {}})
    )
    return folder


def said(_: str) -> None:
    pass


def test_a_cluster_from_up_to_nothing_left(dataproc_: Dataproc, store: Store, tmp_path: Path) -> None:
    cloud = Gcp()
    cloud.up(SPEC, package(tmp_path / "package", "3.11", "3.5"), said)
    assert "packages/wheels/verger-0.1.0-py3-none-any.whl" in store.keys(BUCKET)
    assert cloud.status(SPEC).is_billable, "a cluster costs while it is there"
    assert cloud.status(SPEC).data_uri == f"gs://{BUCKET}"

    job = cloud.submit(SPEC, JobSpec("run", "raw/", "results/first", ("--components", "50")))
    asked = dataproc_.jobs[job].pyspark_job
    assert asked.main_python_file_uri == f"gs://{BUCKET}/packages/main.py"
    assert list(asked.args) == ["run", f"gs://{BUCKET}/raw", f"gs://{BUCKET}/results/first", "--components", "50"]
    assert [job_status.state for job_status in cloud.status(SPEC).jobs] == ["waiting"]
    with pytest.raises(CloudError, match="has written nothing yet"):
        list(cloud.logs(SPEC, job))

    output = "google-cloud-dataproc-metainfo/uuid/jobs/1/driveroutput"
    store.objects |= {
        (BUCKET, f"{output}.000000000"): (b"16480 photos\n", 1),
        (BUCKET, f"{output}.000000001"): (b"written\n", 1),
        (BUCKET, "results/first/components/part-0.parquet"): (b"PAR1", 1),
        (BUCKET, "results/first/manifest.json"): (b"{}", 1),
    }
    dataproc_.finish_job(job, "DONE", f"gs://{BUCKET}/{output}")
    (done,) = cloud.status(SPEC).jobs
    assert (done.id, done.state, done.began, done.ended) == (
        job,
        "done",
        "2026-11-22 08:00",
        "2026-11-22 08:30",
    )
    assert list(cloud.logs(SPEC, job)) == ["16480 photos", "written"]
    cloud.fetch(SPEC, "results/first", tmp_path / "here", said)
    assert (tmp_path / "here" / "components" / "part-0.parquet").read_bytes() == b"PAR1"

    left = cloud.down(SPEC, said, keep_data=False)
    assert [(thing.kind, thing.id) for thing in left] == [("bucket", BUCKET)], "this Terraform removed none"
    assert cloud.down(SPEC, said, keep_data=True) == [] and not dataproc_.clusters
    del store.buckets[BUCKET]
    assert cloud.down(SPEC, said, keep_data=False) == []


def test_the_cluster_is_private_marked_and_ends_by_itself(dataproc_: Dataproc, tmp_path: Path) -> None:
    Gcp().up(SPEC, package(tmp_path / "package", "3.11", "3.5"), said)
    (cluster,) = dataproc_.clusters.values()
    config = cluster.config
    assert config.lifecycle_config.idle_delete_ttl == timedelta(minutes=15)
    assert config.lifecycle_config.auto_delete_ttl == timedelta(hours=4)
    assert config.gce_cluster_config.internal_ip_only and dict(cluster.labels) == LABELS
    assert config.gce_cluster_config.metadata["verger-package"] == f"gs://{BUCKET}/packages"
    assert config.software_config.image_version == "2.3-debian12"
    assert config.secondary_worker_config.preemptibility == dataproc.InstanceGroupConfig.Preemptibility.SPOT
    assert (
        config.autoscaling_config.policy_uri
        == "projects/orchard-eu/regions/europe-west9/autoscalingPolicies/verger-apples"
    )
    assert {config.config_bucket, config.temp_bucket} == {BUCKET}, "nothing lies in buckets of Google's making"


def test_an_ended_cluster_is_no_error_and_comes_back_with_up(dataproc_: Dataproc, tmp_path: Path) -> None:
    cloud, made = Gcp(), package(tmp_path / "package", "3.11", "3.5")
    cloud.up(SPEC, made, said)
    cloud.up(SPEC, made, said)
    dataproc_.clusters.clear()  # as Google does with an idle one
    assert not cloud.status(SPEC).is_billable
    with pytest.raises(
        CloudError, match=r"verger-apples does not exist.*`verger cloud up --name apples` starts one"
    ):
        cloud.submit(SPEC, JobSpec("run", "raw/", "results/first"))
    cloud.up(SPEC, made, said)
    assert cloud.submit(SPEC, JobSpec("run", "raw/", "results/first"))


def test_a_cluster_that_failed_is_made_anew(dataproc_: Dataproc, tmp_path: Path) -> None:
    cloud, made, lines = Gcp(), package(tmp_path / "package", "3.11", "3.5"), list[str]()
    cloud.up(SPEC, made, said)
    (cluster,) = dataproc_.clusters.values()
    states = dataproc.ClusterStatus.State
    cluster.status = dataproc.ClusterStatus(state=states.ERROR, detail="init.sh: exit 1")
    cloud.up(SPEC, made, lines.append)
    assert any("init.sh: exit 1" in line for line in lines)
    (cluster,) = dataproc_.clusters.values()
    assert cluster.status.state == states.RUNNING


def test_a_cluster_that_does_not_start_is_said_to_cost_and_why(dataproc_: Dataproc, tmp_path: Path) -> None:
    cloud, lines = Gcp(), list[str]()
    log = f"gs://{BUCKET}/google-cloud-dataproc-metainfo/output"
    dataproc_.failure = f"Multiple Errors:\n - Initialization action failed. see output in {log}"
    with pytest.raises(CloudError, match=f"Multiple Errors: - Initialization action failed. see output in {log}"):
        cloud.up(SPEC, package(tmp_path / "package", "3.11", "3.5"), lines.append)
    assert "may exist and cost money: `verger cloud down --name apples` removes it" in lines[-1]
    status = cloud.status(SPEC)
    assert status.is_billable and log in status.state
    assert cloud.down(SPEC, said, keep_data=True) == [] and not dataproc_.clusters


def test_batches_do_not_hide_a_cluster_that_costs(dataproc_: Dataproc, tmp_path: Path) -> None:
    Gcp().up(SPEC, package(tmp_path / "package", "3.11", "3.5"), said)
    batches = replace(SPEC, engine="batch")
    for begin in (Gcp().check, lambda spec: Gcp().up(spec, tmp_path / "package", said)):
        with pytest.raises(
            CloudError, match=r"verger-apples still exists \(RUNNING\).*`verger cloud down --keep-data`"
        ):
            begin(batches)
    assert Gcp().down(batches, said, keep_data=True) == [] and not dataproc_.clusters
    Gcp().check(batches)


def test_batches_bring_their_machines(dataproc_: Dataproc, store: Store, tmp_path: Path) -> None:
    spec, cloud = replace(SPEC, engine="batch"), Gcp()
    cloud.up(spec, package(tmp_path / "package", "3.12", "4.0"), said)
    assert not dataproc_.clusters and not cloud.status(spec).is_billable
    job = cloud.submit(spec, JobSpec("run", "raw/", "results/first"))
    batch = dataproc_.batches[job]
    (archive,) = batch.pyspark_batch.archive_uris
    assert archive.partition("#")[0].removeprefix(f"gs://{BUCKET}/") in store.keys(BUCKET)
    assert batch.environment_config.execution_config.ttl == timedelta(hours=4)
    asked = batch.runtime_config.properties
    for side in ("driver", "executor"):  # what `verger cost` counts: 4 vCPUs and 16 GB
        sizes = [asked[f"spark.{side}.{what}"] for what in ("cores", "memory", "memoryOverhead")]
        assert sizes == ["4", "10g", "6g"]
    assert asked["spark.dynamicAllocation.maxExecutors"] == "6"
    assert batch.environment_config.execution_config.service_account.startswith("verger-apples@")
    assert [job_status.state for job_status in cloud.status(spec).jobs] == ["waiting"] and cloud.status(
        spec
    ).is_billable

    store.objects[BUCKET, "out/driveroutput.000000000"] = (b"photos\n", 1)
    batch.runtime_info.output_uri = f"gs://{BUCKET}/out/driveroutput"
    assert list(cloud.logs(spec, job)) == ["photos"]
    assert cloud.down(spec, said, keep_data=True) == []
    assert dataproc_.batches[job].state == dataproc.Batch.State.CANCELLED


def test_down_waits_for_a_batch_that_stops(
    dataproc_: Dataproc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, cloud, lines = replace(SPEC, engine="batch"), Gcp(), list[str]()
    cloud.up(spec, package(tmp_path / "package", "3.12", "4.0"), said)
    job = cloud.submit(spec, JobSpec("run", "raw/", "results/first"))
    monkeypatch.setattr("verger.cloud.gcp.machines._POLL_S", 0.01)
    monkeypatch.setattr("verger.cloud.gcp.machines._STOP_S", 0.1)
    dataproc_.looks = 1_000_000
    (left,) = cloud.down(spec, lines.append, keep_data=True)
    assert (left.kind, left.id.endswith(job)) == ("batch", True) and cloud.status(spec).is_billable
    assert any(f"batch {job} has not stopped" in line for line in lines)

    monkeypatch.setattr("verger.cloud.gcp.machines._STOP_S", 300)
    dataproc_.looks = 3
    assert cloud.down(spec, lines.append, keep_data=True) == []
    assert f"stopped batch {job}" in lines and not cloud.status(spec).is_billable


def test_what_is_left_is_told(dataproc_: Dataproc) -> None:
    marks = {"goog-dataproc-cluster-name": "verger-apples"}
    dataproc_.machines["disks"] = [{"name": "verger-apples-m", "labels": marks}, {"name": "other", "labels": {}}]
    dataproc_.machines["instances"] = [{"name": "verger-apples-w-0", "labels": marks}]
    left = Gcp().down(SPEC, said, keep_data=True)
    assert {(thing.kind, thing.id) for thing in left} == {
        ("disk", "verger-apples-m"),
        ("instance", "verger-apples-w-0"),
    }


def test_guard_finds_what_was_changed_by_hand(dataproc_: Dataproc, store: Store, tmp_path: Path) -> None:
    cloud = Gcp()
    cloud.up(SPEC, package(tmp_path / "package", "3.11", "3.5"), said)
    assert all(found.is_ok for found in cloud.guard(SPEC)), cloud.guard(SPEC)

    store.buckets[BUCKET] |= {
        "location": "EUROPE-WEST2",
        "iamConfiguration": {"publicAccessPrevention": "inherited"},
    }
    (cluster,) = dataproc_.clusters.values()
    cluster.config.gce_cluster_config.internal_ip_only = False
    cluster.config.lifecycle_config = dataproc.LifecycleConfig()
    wrong = {found.check: found.detail for found in cloud.guard(SPEC) if not found.is_ok}
    assert set(wrong) == {
        "region in the EU",
        "no public access",
        "uniform bucket-level access",
        "idle clusters end",
        "old clusters end",
        "no public addresses",
    }
    assert wrong["region in the EU"] == "europe-west2 (not in the EU)"


def test_a_package_for_other_machines_is_refused(dataproc_: Dataproc, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"verger cloud package \S+ --python 3.11 --spark 3.5 --arch x86_64"):
        Gcp().up(SPEC, package(tmp_path / "package", "3.12", "4.0"), said)
    assert not dataproc_.clusters


def test_refusals_are_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"Google refuses: .*Not found: none"):
        list(Gcp().logs(SPEC, "none"))
    with pytest.raises(CloudError, match="--project"):
        Gcp().status(replace(SPEC, project=None))
    with pytest.raises(CloudError, match="gcloud storage rsync"):
        Gcp().submit(SPEC, JobSpec("run", "/home/me/photos", "results/x"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SetupError, match="gcloud auth application-default login"):
        Gcp().status(SPEC)


def test_photos_outside_the_eu_are_not_touched(dataproc_: Dataproc, store: Store, tmp_path: Path) -> None:
    Gcp().up(SPEC, package(tmp_path / "package", "3.11", "3.5"), said)
    for bucket, place in (("far", "US-EAST1"), ("near", "EUR8"), ("home", "EU")):
        store.make(bucket, location=place)
    for bucket in ("far", "near"):
        with pytest.raises(CloudError, match=f"the bucket {bucket} is in .* in the European Union"):
            Gcp().submit(SPEC, JobSpec("run", f"gs://{bucket}/raw", "results/x"))
    assert not dataproc_.jobs
    assert Gcp().submit(SPEC, JobSpec("run", "gs://home/raw", "results/x"))


def test_a_shape_that_dataproc_has_not_becomes_the_next(dataproc_: Dataproc, tmp_path: Path) -> None:
    spec = replace(SPEC, shape=Shape(1, "n2-standard-4", "n2-standard-4", max_workers=2))
    Gcp().up(spec, package(tmp_path / "package", "3.11", "3.5"), said)
    (cluster,) = dataproc_.clusters.values()
    assert cluster.config.worker_config.num_instances == 2 and not cluster.config.autoscaling_config.policy_uri
    with pytest.raises(SettingsError, match=r"idle_minutes = 3 .* at least 5"):
        Gcp().check(replace(SPEC, idle_minutes=3))


def test_the_whole_way_by_the_command_line(dataproc_: Dataproc, store: Store, tmp_path: Path) -> None:
    made = package(tmp_path / "package", "3.11", "3.5")
    asked = ("--provider", "gcp", "--project", PROJECT, "--name", "apples")
    planned = verger_output("plan", *asked, "--photos", "1e5")
    assert BUCKET in planned and "verger-apples" in planned
    verger_output("up", *asked, "--package", str(made), "--yes")
    verger_output("submit", "raw/", "results/first", "--components", "50", "--yes")
    (job,) = dataproc_.jobs
    assert list(dataproc_.jobs[job].pyspark_job.args)[-2:] == ["--components", "50"]
    store.objects[BUCKET, "out/driveroutput.000000000"] = (b"16480 photos\n", 1)
    store.objects[BUCKET, "results/first/manifest.json"] = (b"{}", 1)
    dataproc_.finish_job(job, "DONE", f"gs://{BUCKET}/out/driveroutput")
    assert json.loads(verger_output("status", "--json"))["jobs"][0]["state"] == "done"
    assert verger_output("logs") == "16480 photos\n"
    verger_output("fetch", "results/first", str(tmp_path / "here"))
    assert (tmp_path / "here" / "manifest.json").is_file()
    assert "europe-west9 (Paris)" in verger_output("guard")
    del store.buckets[BUCKET]  # which Terraform would do
    verger_output("down", "--yes")
    assert not dataproc_.clusters


def verger_output(*words: str) -> str:
    done = CliRunner().invoke(app, ["cloud", *words], terminal_width=200)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_without_the_extra_a_plan_is_made_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.dataproc_v1", None)
    assert BUCKET in [thing.name for thing in Gcp().plan(SPEC)]
    for ask in (Gcp().check, Gcp().status, Gcp().guard):
        with pytest.raises(SetupError, match=r"pip install 'verger\[gcp\]'"):
            ask(SPEC)


def test_outside_the_eu_nothing_is_asked(server: Stub, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"europe-west2 \(London\) is not in the European Union"):
        Gcp().up(replace(SPEC, region="europe-west2"), tmp_path, said)
    assert not server.requests


def test_terraform_understands_what_it_is_handed() -> None:
    terraform = stack.prepare(SPEC)
    terraform.apply(said)
    found = terraform.output()
    assert (found["grows"], found["computes"], found["title"]) == (True, True, "verger-apples")
    assert {"billingbudgets.googleapis.com", "cloudbilling.googleapis.com"} <= set(found["alerting"])
    small = replace(SPEC, shape=Shape(2, "m", "m"), email=None)
    stack.prepare(small, engine="none").apply(said)
    found = terraform.output()
    assert (found["grows"], found["computes"], found["alerting"]) == (False, False, [])


def test_terraform_itself_refuses_a_region_outside_the_eu() -> None:
    terraform = stack.prepare(replace(SPEC, region="europe-west6"))
    with pytest.raises(CloudError, match=r"This region is not in the European Union"):
        terraform.apply(said)


def test_the_archive_of_a_package_is_a_folder_to_import_from(tmp_path: Path) -> None:
    pack_site(package(tmp_path / "package", "3.12", "4.0"), tmp_path / "site.tar.gz")
    with tarfile.open(tmp_path / "site.tar.gz") as packed:
        assert "./verger/__init__.py" in packed.getnames()
