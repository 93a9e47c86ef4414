"""Send requests to object stores, repeat failed requests, and translate errors."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from verger.errors import StorageError
from verger.storage.objects import gcs, s3
from verger.storage.objects.gcs import emulator, emulator_account
from verger.storage.objects.s3 import profile_credentials, s3_endpoint, s3_region

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

# Metadata services, which exist only on cloud instances. Clients ask them for credentials if all else fails.
_INSTANCE_METADATA = ("169.254.169.254", "metadata.google.internal")


# A request that fails is repeated at most _RETRIES times, and for at most _RETRY_FOR_S. It also counts as failed if
# nothing arrives for _SILENCE_S, or if it takes more than _REQUEST_S.
_RETRIES = 10
_RETRY_FOR_S, _SILENCE_S, _REQUEST_S = 60, 20, 600
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_BROKEN_OFF, _NOT_SENT = "body error", "error sending request"
_UNSUPPORTED = "status code: 501"

# obstore has exceptions for refused access to an object, but none for a refused listing. pyarrow has neither.
_REFUSED = re.compile(r"status code: 40[13]\b|ACCESS_DENIED")
# These codes mean that the store refuses every request, so the cause is not a single photo.
_BAD_CREDENTIALS = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TimeTooSkewed")

T = TypeVar("T")


def send_request(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Send a request; raises FileNotFoundError, StorageError, or obstore's errors about conditional writes."""
    from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError

    path = f"{root}/{key}".strip("/")
    try:
        return request(store_of(root))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such object") from None
    except (AlreadyExistsError, PreconditionError):
        raise
    except (ValueError, InvalidPathError) as error:
        cause = _first_sentence(error).rpartition("path: ")[2]
        message = f"{path}: obstore cannot use this key, or one below it ({cause}): rename the object"
        raise StorageError(message, is_invalid_key=True) from None
    except BaseError as error:
        raise translate_error(path, error) from None


def send_list_request(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Request a listing, and repeat the request if the answer breaks off: obstore does not do this itself."""
    return send_request(root, key, lambda store: _repeated(store, request, _BROKEN_OFF))


def send_delete_request(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Send a request that deletes objects; repeat it if the connection breaks.

    obstore deletes with POST requests. It repeats these after errors of the store, but not after network errors.
    """
    return send_request(root, key, lambda store: _repeated(store, request, _BROKEN_OFF, _NOT_SENT))


def _repeated(store: ObjectStore, request: Callable[[ObjectStore], T], *signs: str) -> T:
    """Send a request; repeat it after errors whose text contains one of `signs`."""
    from obstore.exceptions import BaseError

    for attempt in range(_RETRIES):
        try:
            return request(store)
        except BaseError as error:
            if not any(sign in str(error) for sign in signs):
                raise
            time.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))
    return request(store)


def translate_error(path: str, error: Exception) -> StorageError:
    """Return a StorageError with a short message: access refused, no credentials, or the error's first sentence."""
    if _REFUSED.search(str(error)) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        has_bad_credentials = any(code in str(error) for code in _BAD_CREDENTIALS)
        message = f"{path}: access is refused{_code(error)}; {_credentials_used(path)}"
        return StorageError(message, is_refusal=not has_bad_credentials)
    if any(host in str(error) for host in _INSTANCE_METADATA):
        return StorageError(
            f"{path}: found no credentials, and this machine is not a cloud instance: {_missing_credentials(path)}"
        )
    is_unsupported = type(error).__name__ == "NotSupportedError" or _UNSUPPORTED in str(error)
    return StorageError(f"{path}: {_first_sentence(error)}", is_unsupported=is_unsupported)


def _code(error: Exception) -> str:
    """Return the store's code for an error, in brackets; empty if there is no code."""
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return f" ({code.group(1)})" if code else ""


def _first_sentence(error: Exception) -> str:
    """Return the first sentence of an error. The rest may contain the store's whole answer, with secret keys."""
    sentence = re.sub(r"\s+", " ", str(error).split("\n\nDebug source")[0].split("<?xml")[0])
    return f"{sentence[:300].strip(' :')}{_code(error)}"


def _missing_credentials(path: str) -> str:
    if path.startswith("gs:"):
        return "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
    return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def _credentials_used(path: str) -> str:
    if path.startswith("gs:"):
        return "credentials: `gcloud auth application-default login`, or the instance's service account"
    if not path.startswith("s3a:"):
        return "the store's usual credentials are used"
    profile = os.environ.get("AWS_PROFILE")
    return f"AWS_PROFILE is {profile}" if profile else "credentials: environment, AWS profile or instance role"


_s3_regions: dict[str, str] = {}


def set_s3_region(root: str, region: str) -> None:
    """Use this region for a bucket (s3a://BUCKET), regardless of the environment and the AWS profile."""
    _s3_regions[root] = region
    store_of.cache_clear()


@functools.lru_cache(maxsize=32)
def store_of(root: str) -> ObjectStore:
    """Return the obstore client for a bucket; the whole process uses the same one."""
    from obstore.store import from_url

    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_FOR_S)}
    silence, longest = timedelta(seconds=_SILENCE_S), timedelta(seconds=_REQUEST_S)
    client: ClientConfig = {"read_timeout": silence, "connect_timeout": silence, "timeout": longest}
    url = emulator() if root.startswith("gs:") else None
    if url:
        client["allow_http"] = True
        account: GCSConfig = {"service_account_key": emulator_account(url)}
        return from_url(root, config=account, retry_config=retries, client_options=client)
    if not root.startswith("s3a:"):
        return from_url(root, retry_config=retries, client_options=client)
    endpoint = s3_endpoint()
    config: S3Config = {"region": _s3_regions.get(root) or s3_region()}
    if endpoint:
        config["endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    return from_url(
        root,
        config=config,
        retry_config=retries,
        client_options=client,
        credential_provider=profile_credentials(),
    )


def pyarrow_store(root: str) -> Any:
    """Return pyarrow's file system for a bucket, which allows any key; None for Azure."""
    return s3.file_system() if root.startswith("s3a:") else gcs.file_system() if root.startswith("gs:") else None
