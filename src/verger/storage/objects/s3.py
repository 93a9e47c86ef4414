"""S3's settings as Amazon's own tools find them: environment, profile, instance."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

from verger.errors import SetupError


def s3_endpoint() -> str | None:
    """Return the endpoint where it is not Amazon's own."""
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or _profile().get("endpoint_url")
    )


def s3_region() -> str:
    """Return the region: of the environment, the profile, else us-east-1 as Amazon's own tools have it."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _profile().get("region")
    return named or "us-east-1"


def file_system() -> Any:
    """Return the store as pyarrow sees it."""
    from pyarrow import fs

    endpoint = s3_endpoint()
    scheme = "http" if (endpoint or "").startswith("http://") else "https"
    return fs.S3FileSystem(region=s3_region(), endpoint_override=endpoint, scheme=scheme)


def _profile() -> dict[str, str]:
    """Return the settings of the AWS profile."""
    name = os.environ.get("AWS_PROFILE", "default")
    file = configparser.RawConfigParser()
    file.read(os.environ.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config")
    section = "default" if name == "default" else f"profile {name}"
    return dict(file[section]) if file.has_section(section) else {}


def profile_credentials() -> Any:
    """Return what asks boto3, the one who knows profiles; None where there is no profile to know."""
    has_profile = "AWS_PROFILE" in os.environ or (Path.home() / ".aws" / "credentials").is_file()
    if "AWS_ACCESS_KEY_ID" in os.environ or not has_profile:
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise SetupError("AWS profiles need boto3: pip install 'verger[aws]'") from error
    return Boto3CredentialProvider()
