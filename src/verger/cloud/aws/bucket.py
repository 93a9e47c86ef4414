"""Where a job reads and writes: the deployment's bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verger.cloud.aws.clients import client, translated_errors
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.regions import check_region
from verger.errors import CloudError
from verger.storage.hashing import hash_file
from verger.storage.objects import object_path
from verger.storage.objects.stores import store_of
from verger.storage.uri import scheme_of

# Where jobs may write (infra/aws/roles.tf).
_WRITABLE = ("packed", "results", "tmp")


def resolve_out(bucket: str, place: str) -> str:
    """Return the s3:// URI of a result. Raises CloudError where jobs may not write."""
    found = object_path(place) or object_path(f"s3://{bucket}/{_relative(bucket, place)}")
    assert found is not None
    folder, _, rest = found.key.partition("/")
    if found.root != f"s3a://{bucket}" or folder not in _WRITABLE or not rest:
        raise CloudError(
            f"{place}: jobs write to folders of the deployment's bucket alone: results/NAME, packed/NAME"
        )
    return f"s3://{bucket}/{found.key}"


def resolve(spec: DeploymentSpec, bucket: str, place: str) -> str:
    """Return the s3:// URI of a place: a relative one is of the deployment's bucket.

    Raises CloudError for a place that the machines would not see, and for a bucket outside the EU.
    """
    found = object_path(place)
    if found is None:
        return f"s3://{bucket}/{_relative(bucket, place)}"
    if not found.root.startswith("s3a://"):
        raise CloudError(f"{place}: jobs on AWS read s3://")
    named = found.root.removeprefix("s3a://")
    if named != bucket:
        _check_bucket(spec, named)
        raise CloudError(
            f"{place}: neither the jobs' role nor their network leads to other buckets. Bring the photos over: "
            f"aws s3 sync s3://{named}/{found.key} s3://{bucket}/raw/"
        )
    return f"s3://{named}/{found.key}"


def _relative(bucket: str, place: str) -> str:
    """Return the key of a place in the deployment's bucket; a folder of this machine is none."""
    if scheme_of(place) != "file" or place.startswith(("/", "~", "..", "file:")):
        raise CloudError(
            f"{place}: the machines of a deployment see its bucket alone. Name a folder of that (raw/); photos get "
            f"there by: aws s3 sync FOLDER s3://{bucket}/raw/"
        )
    return place.removeprefix("./").strip("/")


def carry(spec: DeploymentSpec, bucket: str, file: Path) -> str:
    """Bring a file of this machine to the bucket, where it is not there yet, and return its URI."""
    if not file.is_file():
        raise CloudError(f"{file}: there is no such file")
    key = f"packages/files/{hash_file(file)[:16]}/{file.name}"
    s3 = client("s3", spec.region)
    with translated_errors():
        if s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0:
            s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    return f"s3://{bucket}/{key}"


def _check_bucket(spec: DeploymentSpec, bucket: str) -> None:
    """Raise CloudError where a bucket is not in the EU, or cannot be asked where it is."""
    s3 = client("s3", spec.region)
    with translated_errors():
        answer = s3.head_bucket(Bucket=bucket)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or "unknown"
    try:
        check_region("aws", region)
    except CloudError as error:
        raise CloudError(f"the bucket {bucket}: {error}") from None


@contextmanager
def store_in(region: str) -> Iterator[None]:
    """Let `verger.storage.objects` ask S3 in this region, whatever the environment says of others."""
    before = os.environ.get("AWS_REGION")
    os.environ["AWS_REGION"] = region
    store_of.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("AWS_REGION") if before is None else os.environ.update(AWS_REGION=before)
        store_of.cache_clear()
