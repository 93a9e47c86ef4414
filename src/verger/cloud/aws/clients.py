"""boto3 clients, and the translation of boto3's errors into verger's errors."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from verger.errors import CloudError, SetupError

NO_CREDENTIALS = (
    "there are no credentials for AWS: run `aws configure sso`, or set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; then try again"
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")
_TIMEOUT_S = 20


@functools.lru_cache(maxsize=32)
def client(service: str, region: str) -> Any:
    """Return the boto3 client of a service, one for the whole process; boto3 repeats failed requests."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise SetupError("AWS needs boto3: pip install 'verger[aws]'") from error
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S * 3,
        user_agent_appid="verger",
    )
    with translated_errors():
        return boto3.session.Session().client(service, region_name=region, config=config)


def check_credentials(region: str) -> str:
    """Return the number of the AWS account; raises SetupError if credentials are missing or expired."""
    sts = client("sts", region)
    with translated_errors():
        return str(sts.get_caller_identity()["Account"])


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate boto3's exceptions: SetupError for credentials, CloudError for all others."""
    from botocore import exceptions

    missing = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoRegionError)
    expired = (exceptions.CredentialRetrievalError, exceptions.TokenRetrievalError, exceptions.SSOError)
    try:
        yield
    except missing as error:
        raise SetupError(NO_CREDENTIALS) from error
    except exceptions.ProfileNotFound as error:
        raise SetupError(f"{error}: check AWS_PROFILE; `aws configure list-profiles` lists the profiles") from error
    except expired as error:
        raise SetupError(f"AWS credentials cannot be renewed ({error}): run `aws sso login`") from error
    except exceptions.ClientError as error:
        raise _translate(error) from error
    except exceptions.BotoCoreError as error:
        raise CloudError(f"AWS cannot be reached: {error}") from error


def code_of(error: Exception) -> str:
    """Return the AWS error code of a boto3 exception, such as AccessDenied."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", type(error).__name__))


def _translate(error: Any) -> SetupError | CloudError:
    code = code_of(error)
    message = f"{code}: {error.response['Error'].get('Message', '')}".rstrip(": ")
    if code in _EXPIRED:
        return SetupError(f"AWS refuses the credentials ({message}): run `aws sso login`, or set newer ones")
    return CloudError(f"AWS refuses {error.operation_name}: {message}")
