"""Paths in the deployment's bucket that jobs can read and write, and the upload of single files."""

from __future__ import annotations

from pathlib import Path

from verger.cloud.aws.clients import client, translated_errors
from verger.cloud.deploy.data_paths import PathRule
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.regions import check_region
from verger.errors import CloudError
from verger.storage.hashing import hash_file

# The folders to which the IAM role of jobs may write (infra/aws/roles.tf).
_WRITABLE = ("packed", "results", "tmp")


def resolve_result(bucket: str, path: str) -> str:
    """Return the s3:// URI of a result. Raises CloudError for a folder that jobs may not write to."""
    uri = _rule(bucket).resolve(path)
    folder, _, name = uri.removeprefix(f"s3://{bucket}/").partition("/")
    if folder not in _WRITABLE or not name:
        raise CloudError(
            f"{path}: jobs can write only to these folders of the deployment's bucket: results/NAME, packed/NAME"
        )
    return uri


def resolve_source(spec: DeploymentSpec, bucket: str, path: str) -> str:
    """Return the s3:// URI of a source; a relative path is inside the deployment's bucket.

    Raises CloudError for a path that the machines cannot read: a local folder, another store or another bucket.
    """
    uri = _rule(bucket).resolve(path)
    named, _, key = uri.removeprefix("s3://").partition("/")
    if named != bucket:
        _check_bucket_region(spec, named)
        raise CloudError(
            f"{path}: jobs can read only the deployment's bucket. Copy the photos there: "
            f"aws s3 sync s3://{named}/{key} s3://{bucket}/raw/"
        )
    return uri


def _rule(bucket: str) -> PathRule:
    advice = (
        "jobs on AWS can read and write only the deployment's bucket. Name a folder of the bucket (raw/); to "
        f"upload photos: aws s3 sync FOLDER s3://{bucket}/raw/"
    )
    return PathRule(f"s3://{bucket}", "s3a://", advice)


def upload_file(spec: DeploymentSpec, bucket: str, file: Path) -> str:
    """Upload a local file to the bucket if the bucket does not have it yet; return the file's URI."""
    if not file.is_file():
        raise CloudError(f"{file}: there is no such file")
    key = f"packages/files/{hash_file(file)[:16]}/{file.name}"
    s3 = client("s3", spec.region)
    with translated_errors():
        if s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0:
            s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    return f"s3://{bucket}/{key}"


def _check_bucket_region(spec: DeploymentSpec, bucket: str) -> None:
    """Raise CloudError if a bucket is outside the EU, or its region cannot be read."""
    s3 = client("s3", spec.region)
    with translated_errors():
        answer = s3.head_bucket(Bucket=bucket)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or "unknown"
    try:
        check_region("aws", region)
    except CloudError as error:
        raise CloudError(f"the bucket {bucket}: {error}") from None
