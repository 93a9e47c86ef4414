"""Presigned requests of S3: forms and links with which clients upload and download without credentials."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from verger.errors import SetupError
from verger.storage.objects.path import ObjectPath
from verger.storage.objects.s3 import s3_endpoint, s3_region


@dataclass(frozen=True)
class UploadForm:
    """A form that uploads one object: POST it to `url` with `fields`, then the field `file`."""

    url: str
    fields: dict[str, str]


def can_presign(path: object) -> bool:
    """Return whether a path is in S3, and boto3, which signs, is installed."""
    return isinstance(path, ObjectPath) and path.root.startswith("s3a://") and find_spec("boto3") is not None


def presign_upload(path: ObjectPath, content_type: str, max_bytes: int, valid_for: timedelta) -> UploadForm:
    """Return a form that may upload only this object, of this type and up to this size, until it expires.

    Raises SetupError without boto3 or credentials.
    """
    bucket, key = _bucket_and_key(path)
    form = _sign(
        "generate_presigned_post",
        bucket,
        key,
        Fields={"Content-Type": content_type},
        Conditions=[{"Content-Type": content_type}, ["content-length-range", 1, max_bytes]],
        ExpiresIn=int(valid_for.total_seconds()),
    )
    return UploadForm(form["url"], form["fields"])


def presign_download(path: ObjectPath, valid_for: timedelta) -> str:
    """Return a link to an object that needs no credentials until it expires; raises SetupError."""
    bucket, key = _bucket_and_key(path)
    parameters = {"Bucket": bucket, "Key": key}
    return str(
        _sign(
            "generate_presigned_url",
            "get_object",
            Params=parameters,
            ExpiresIn=int(valid_for.total_seconds()),
        )
    )


def _bucket_and_key(path: ObjectPath) -> tuple[str, str]:
    return path.root.partition("://")[2], path.key


def _sign(method: str, *arguments: Any, **options: Any) -> Any:
    client = _client(s3_endpoint(), s3_region())
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    try:
        return getattr(client, method)(*arguments, **options)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SetupError(f"AWS credentials are needed to sign uploads: {error}") from error


@functools.lru_cache(maxsize=4)
def _client(endpoint: str | None, region: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise SetupError("uploads to S3 need boto3: pip install 'verger[aws]'") from error
    return boto3.session.Session().client(
        "s3", region_name=region, endpoint_url=endpoint, config=Config(signature_version="s3v4")
    )
