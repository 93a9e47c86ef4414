"""A deployment on AWS from `plan` to `down`, by the command line: Terraform and boto3 meet moto's server.

A thread stands in for EMR: it takes a step of the cluster, runs what that says by a real spark-submit on this
machine, and leaves state and logs where EMR leaves them.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.emr.models import emr_backends

from tests.cloud.aws.moto_server import serving
from tests.support.chain import manifest_of, verger, wait_until
from verger.cloud.deploy.package import MANIFEST
from verger.engine.spark.java import use_java
from verger.storage.objects.stores import store_of

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

REGION = "eu-west-3"
FLAGS = ("--model", "fruitnet", "--components", "2", "--no-report")
SPARK_SUBMIT = Path(pyspark.__file__).parent / "bin" / "spark-submit"
TAGS = [{"Key": "project", "Value": "verger"}, {"Key": "deployment", "Value": "orchard"}]


@pytest.fixture(scope="module", autouse=True)
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERGER_STATE", str(tmp_path_factory.mktemp("state")))
        yield endpoint
    store_of.cache_clear()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """As much of a package as a stand-in for a cluster needs: it has this machine's verger."""
    folder = tmp_path / "package"
    shutil.copytree(Path(__file__).parents[3] / "src" / "verger" / "cloud" / "deploy" / "node", folder)
    (folder / MANIFEST).write_text("{}")
    return folder


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def cluster() -> Any:
    # moto reads a region from the name of EMR's host, which is none of Amazon's here.
    regions = emr_backends[DEFAULT_ACCOUNT_ID].values()
    (found,) = [each for region in regions for each in region.clusters.values() if each.state != "TERMINATED"]
    return found


@contextmanager
def steps_run(bucket: str, scratch: Path) -> Iterator[None]:
    """Run the steps of the cluster, one after another, as they are added."""
    over = threading.Event()

    def work() -> None:
        done = set()
        while not over.wait(0.2):
            for step in [step for step in cluster().steps if step.id not in done]:
                done.add(step.id)
                try:
                    run_step(step, bucket, scratch)
                except BaseException:
                    step.state = "FAILED"
                    raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run_step(step: Any, bucket: str, scratch: Path) -> None:
    """Do on this machine what command-runner.jar does; Spark here knows no S3: verger's tasks do."""
    step.start()
    program, *words = step.args
    assert program == "spark-submit" and step.jar == "command-runner.jar"
    at = next(i for i, word in enumerate(words) if word.endswith("/main.py"))
    main = scratch / "main.py"
    client("s3").download_file(bucket, words[at].removeprefix(f"s3://{bucket}/"), str(main))
    command = [str(SPARK_SUBMIT), "--master", "local[2]", "--conf", f"spark.pyspark.python={sys.executable}"]
    environment = os.environ | {"JAVA_HOME": str(use_java().home), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [*command, *words[:at], str(main), *words[at + 1 :]], env=environment, capture_output=True
    )
    for name, text in (("stdout", done.stdout), ("stderr", done.stderr)):
        key = f"logs/{cluster().id}/steps/{step.id}/{name}.gz"
        client("s3").put_object(Bucket=bucket, Key=key, Body=gzip.compress(text))
    step.end_date_time = datetime.now(UTC)
    step.state = "FAILED" if done.returncode else "COMPLETED"


def cloud(*words: object, cwd: Path, fails: bool = False) -> str:
    """Run `verger cloud`, and return what it prints."""
    done = verger("cloud", *words, cwd=cwd)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def status(cwd: Path) -> dict[str, Any]:
    output: dict[str, Any] = json.loads(verger("cloud", "status", "--json", cwd=cwd).stdout)
    return output


def wait_for(job: str, cwd: Path) -> str:
    """Wait until the stand-in has run a step; return what `verger cloud status` then calls its state."""
    step = next(step for step in cluster().steps if step.id == job)
    wait_until(lambda: step.state in ("COMPLETED", "FAILED"), 450)
    return str({output["id"]: output["state"] for output in status(cwd)["jobs"]}[job])


def submit(*words: str, cwd: Path) -> str:
    submitted = re.search(r"job (\S+); next: ", cloud("submit", *words, "--yes", cwd=cwd))
    assert submitted
    return submitted[1]


def table(folder: Path) -> pa.Table:
    """Return a table sorted by the photos' folders and names, less where these lie."""
    found = pq.read_table(folder)
    names = pa.array(["/".join(path.split("/")[-2:]) for path in found["path"].to_pylist()])
    return found.set_column(0, "path", names).sort_by("path")


@pytest.mark.timeout(1500)
def test_a_deployment_from_up_to_down(photos: Path, package: Path, tmp_path: Path) -> None:
    made = ("--name", "orchard", "--shape", "2..4xm5.xlarge", "--email", "me@example.org", "--package", package)
    with ThreadPoolExecutor() as pool:  # Terraform waits for a minute to see the bucket's rules
        local = pool.submit(manifest_of, "run", photos, tmp_path / "local", *FLAGS, cwd=tmp_path)
        output = cloud("up", *made, "--yes", cwd=tmp_path)
    assert "EMR cluster" in output and "EUR an hour" in output and "made aws_emr_cluster.this[0]" in output
    state = status(tmp_path)
    assert state["is_billable"] and cluster().id in state["state"] and state["jobs"] == []
    bucket = client("s3").list_buckets()["Buckets"][0]["Name"]
    assert state["data_uri"] == f"s3://{bucket}" and "6.91 EUR a month" in state["standing_cost"]
    assert f"storage: s3://{bucket}" in cloud("status", cwd=tmp_path)

    for file in sorted(photos.rglob("*")):
        if file.is_file():
            client("s3").upload_file(str(file), bucket, f"raw/{file.relative_to(photos)}")
    with steps_run(bucket, tmp_path):
        job, again = (submit("raw/", "results/first", *FLAGS, cwd=tmp_path) for _ in range(2))
        assert wait_for(job, tmp_path) == "done", cloud("logs", job, cwd=tmp_path)
        check_result(local.result(), tmp_path)
        assert wait_for(again, tmp_path) == "failed"
    assert "verger run" in cloud("logs", job, cwd=tmp_path)
    assert "--overwrite" in cloud("logs", cwd=tmp_path), "without a name it is the newest job"
    assert [job["id"] for job in status(tmp_path)["jobs"]] == [again, job]

    check_guard(bucket, tmp_path)
    check_end(tmp_path)


def check_result(manifest: dict[str, Any], cwd: Path) -> None:
    """Fetch what the cluster made, and compare it with what this machine made in `local`."""
    output = cloud("fetch", "results/first", "out", cwd=cwd)
    assert "fetching" in output and "were downloaded before" in cloud("fetch", "results/first", "out", cwd=cwd)
    fetched = json.loads((cwd / "out" / "manifest.json").read_text())
    assert fetched["counts"] == manifest["counts"] and manifest["counts"]["features"] == 12
    for name in ("features", "components", "rejected"):
        assert table(cwd / "out" / name).equals(table(cwd / "local" / name)), name


def check_guard(bucket: str, cwd: Path) -> None:
    findings = json.loads(verger("cloud", "guard", "--json", cwd=cwd).stdout)
    assert len(findings) > 10 and [finding for finding in findings if not finding["is_ok"]] == []
    client("s3").delete_public_access_block(Bucket=bucket)
    output = cloud("guard", cwd=cwd, fails=True)
    assert "!! │ bucket: public access" in output and output.count("!!") == 1


def check_end(cwd: Path) -> None:
    cluster().terminate()  # as EMR does after some idle minutes
    state = status(cwd)
    assert not state["is_billable"] and "TERMINATED" in state["state"]
    assert "`verger cloud up --name orchard` starts a new one" in cloud(
        "submit", "raw", "results/a", "--yes", cwd=cwd, fails=True
    )

    disk = client("ec2").create_volume(
        AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": TAGS}]
    )["VolumeId"]
    output = cloud("down", "--yes", cwd=cwd, fails=True)
    assert disk in output and "still cost money" in output
    client("ec2").delete_volume(VolumeId=disk)
    assert "nothing that costs money is left" in cloud("down", "--name", "orchard", "--yes", cwd=cwd)
    assert client("s3").list_buckets()["Buckets"] == []
    assert "nothing to remove" in cloud("down", "--name", "orchard", "--yes", cwd=cwd)
