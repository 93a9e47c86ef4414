"""Settings of S3, from the same places as in Amazon's tools: the environment, the AWS profile or the instance."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

from verger.errors import SetupError
from verger.storage.objects.address_check import check_endpoint, check_region


def s3_endpoint() -> str | None:
    """Return the URL of the S3 endpoint; None if it is Amazon's own endpoint. Raises SettingsError for no URL."""
    key, url = _first_setting("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", profile_key="endpoint_url")
    return check_endpoint(key, url) if url else None


def s3_region() -> str:
    """Return the region from the environment or the AWS profile; the default is us-east-1, as in Amazon's tools.

    Raises SettingsError if this is not the name of a region.
    """
    key, region = _first_setting("AWS_REGION", "AWS_DEFAULT_REGION", profile_key="region")
    return check_region(key, region) if region else "us-east-1"


def _first_setting(*variables: str, profile_key: str) -> tuple[str, str | None]:
    """Return (name, value) of the first variable that is set, otherwise of the key of the AWS profile."""
    for name in variables:
        if value := os.environ.get(name):
            return name, value
    return f"{profile_key} of the AWS profile", _profile().get(profile_key)


def file_system() -> Any:
    """Return pyarrow's file system for S3."""
    from pyarrow import fs

    endpoint = s3_endpoint()
    scheme = "http" if (endpoint or "").startswith("http://") else "https"
    return fs.S3FileSystem(region=s3_region(), endpoint_override=endpoint, scheme=scheme)


def _profile() -> dict[str, str]:
    """Return the settings of the AWS profile."""
    name = os.environ.get("AWS_PROFILE", "default")
    file = configparser.RawConfigParser()
    file.read(os.environ.get("AWS_CONFIG_FILE") or Path(os.path.expanduser("~")) / ".aws" / "config")
    section = "default" if name == "default" else f"profile {name}"
    return dict(file[section]) if file.has_section(section) else {}


def profile_credentials() -> Any:
    """Return a credential provider for the AWS profile, which needs boto3; None if no profile is set."""
    has_profile = "AWS_PROFILE" in os.environ or (Path(os.path.expanduser("~")) / ".aws" / "credentials").is_file()
    if "AWS_ACCESS_KEY_ID" in os.environ or not has_profile:
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise SetupError("AWS profiles need boto3: pip install 'verger[aws]'") from error
    return Boto3CredentialProvider()
