"""Where jobs on AWS may read and write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import s3
from verger.cloud.aws.bucket import resolve_result, resolve_source, upload_file
from verger.cloud.aws.clients import client
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.errors import CloudError

SPEC = DeploymentSpec("orchard", "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge"))


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    client.cache_clear()
    with s3.serving() as endpoint:
        for name, region in (("london", "eu-west-2"), ("dublin", "eu-west-1")):
            client("s3", region).create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": region}
            )
        yield endpoint
    client.cache_clear()


@pytest.mark.parametrize("path", ["raw", "raw/", "./raw", f"s3://{s3.BUCKET}/raw/", f"s3a://{s3.BUCKET}/raw"])
def test_a_relative_path_is_in_the_deployments_bucket(path: str) -> None:
    assert resolve_source(SPEC, s3.BUCKET, path) == f"s3://{s3.BUCKET}/raw"


@pytest.mark.parametrize("path", ["/data/photos", "~/photos", "../photos", "file:///photos", "hdfs://host/photos"])
def test_a_folder_of_this_machine_is_refused_and_the_message_says_how_to_upload_it(path: str) -> None:
    with pytest.raises(CloudError, match=rf"aws s3 sync FOLDER s3://{s3.BUCKET}/raw/"):
        resolve_source(SPEC, s3.BUCKET, path)


def test_another_bucket_is_checked_for_its_region_first() -> None:
    with pytest.raises(CloudError, match=r"the bucket london: region eu-west-2 \(London\) is not in the European"):
        resolve_source(SPEC, s3.BUCKET, "s3://london/photos")
    with pytest.raises(CloudError, match=rf"aws s3 sync s3://dublin/photos s3://{s3.BUCKET}/raw/"):
        resolve_source(SPEC, s3.BUCKET, "s3://dublin/photos")
    with pytest.raises(CloudError, match="AWS refuses HeadBucket"):
        resolve_source(SPEC, s3.BUCKET, "s3://nobodys/photos")


@pytest.mark.parametrize("path", ["raw/out", "results", "results/", "out", "s3://dublin/results/out"])
def test_results_lie_where_jobs_may_write(path: str) -> None:
    with pytest.raises(CloudError, match="results/NAME"):
        resolve_result(s3.BUCKET, path)
    assert resolve_result(s3.BUCKET, "results/first/") == f"s3://{s3.BUCKET}/results/first"


def test_a_file_of_this_machine_is_uploaded_once(tmp_path: Path) -> None:
    file = tmp_path / "own.onnx"
    file.write_bytes(b"network")
    uri = upload_file(SPEC, s3.BUCKET, file)
    assert uri.endswith("/own.onnx") and upload_file(SPEC, s3.BUCKET, file) == uri
    assert s3.keys("packages/files/") == [uri.removeprefix(f"s3://{s3.BUCKET}/")]
    with pytest.raises(CloudError, match="there is no such file"):
        upload_file(SPEC, s3.BUCKET, tmp_path / "none.onnx")
