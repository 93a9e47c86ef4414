"""boto3's clients, and what AWS says when it refuses, in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from verger.errors import CloudError, SetupError

NO_CREDENTIALS = (
    "there are no credentials for AWS: `aws configure sso` (or AWS_PROFILE, or AWS_ACCESS_KEY_ID and its kin), "
    "then try again"
)
_STALE = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")
_SILENCE_S = 20


@functools.lru_cache(maxsize=32)
def client(service: str, region: str) -> Any:
    """Return the client of a service, one a process; it makes a request that fails again, by boto3's own rules."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise SetupError("AWS needs boto3: pip install 'verger[aws]'") from error
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=_SILENCE_S,
        read_timeout=_SILENCE_S * 3,
        user_agent_appid="verger",
    )
    with translated_errors():
        return boto3.session.Session().client(service, region_name=region, config=config)


def check_credentials(region: str) -> str:
    """Return the account that is asked; raises SetupError where there are no credentials, or stale ones."""
    sts = client("sts", region)
    with translated_errors():
        return str(sts.get_caller_identity()["Account"])


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn boto3's exceptions into SetupError (credentials) and CloudError (all else)."""
    from botocore import exceptions

    unknown = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoRegionError)
    stale = (exceptions.CredentialRetrievalError, exceptions.TokenRetrievalError, exceptions.SSOError)
    try:
        yield
    except unknown as error:
        raise SetupError(NO_CREDENTIALS) from error
    except exceptions.ProfileNotFound as error:
        raise SetupError(f"{error}: see AWS_PROFILE, and `aws configure list-profiles`") from error
    except stale as error:
        raise SetupError(f"AWS credentials cannot be renewed ({error}): `aws sso login`") from error
    except exceptions.ClientError as error:
        raise _refusal(error) from error
    except exceptions.BotoCoreError as error:
        raise CloudError(f"AWS cannot be reached: {error}") from error


def code_of(error: Exception) -> str:
    """Return AWS's short word for what a boto3 call was refused for."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", type(error).__name__))


def _refusal(error: Any) -> SetupError | CloudError:
    code = code_of(error)
    told = f"{code}: {error.response['Error'].get('Message', '')}".rstrip(": ")
    if code in _STALE:
        return SetupError(f"AWS does not take these credentials ({told}): `aws sso login`, or set newer ones")
    return CloudError(f"AWS refuses {error.operation_name}: {told}")
