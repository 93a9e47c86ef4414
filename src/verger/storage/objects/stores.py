"""Requests to object stores, and what they say when they fail."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from verger.errors import StorageError
from verger.storage.objects.gcs import emulator, emulator_account
from verger.storage.objects.s3 import profile_credentials, s3_endpoint, s3_region

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

# An instance's own service, which is asked last, and is not there elsewhere.
_INSTANCE_METADATA = ("169.254.169.254", "metadata.google.internal")
_NO_GOOGLE_CREDENTIALS = "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS"

_RETRIES = 10
_RETRY_FOR = timedelta(seconds=60)
_SILENCE = timedelta(seconds=20)  # a store that says nothing for so long is asked again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_BROKEN_OFF, _NOT_SENT = "body error", "error sending request"
_UNSUPPORTED = "status code: 501"

# obstore tells a refusal from other errors for one object, and not for a listing; pyarrow never does.
_REFUSED = re.compile(r"status code: 40[13]\b|ACCESS_DENIED")
# What is refused to these is refused to all photos: none of them is to blame.
_BAD_CREDENTIALS = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TimeTooSkewed")

T = TypeVar("T")


def ask(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Make a request; what goes wrong comes out as FileNotFoundError or StorageError."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    path = f"{root}/{key}".strip("/")
    try:
        return request(store_of(root))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such object") from None
    except (AlreadyExistsError, PreconditionError):
        raise
    except BaseError as error:
        raise failure(path, error) from None


def ask_for_list(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Make a request for a list, again where its answer breaks off: obstore does so for objects alone."""
    return ask(root, key, lambda store: _repeated(store, request, _BROKEN_OFF))


def ask_to_delete(root: str, key: str, request: Callable[[ObjectStore], T]) -> T:
    """Make a request that deletes, again where the connection breaks.

    obstore deletes by POST, which it repeats for a store's errors, and not for those of the network.
    """
    return ask(root, key, lambda store: _repeated(store, request, _BROKEN_OFF, _NOT_SENT))


def _repeated(store: ObjectStore, request: Callable[[ObjectStore], T], *signs: str) -> T:
    """Make a request, again after errors whose text has one of `signs`."""
    from obstore.exceptions import BaseError

    for attempt in range(_RETRIES):
        try:
            return request(store)
        except BaseError as error:
            if not any(sign in str(error) for sign in signs):
                raise
            time.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))
    return request(store)


def failure(path: str, error: Exception) -> StorageError:
    """Return what a store's error comes to: whose credentials it refuses, or its first words."""
    if _REFUSED.search(str(error)) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        is_callers_fault = any(code in str(error) for code in _BAD_CREDENTIALS)
        words = f"{path}: access is refused{_code(error)}; {_who(path)}"
        return StorageError(words, is_refusal=not is_callers_fault)
    if any(host in str(error) for host in _INSTANCE_METADATA):
        return StorageError(f"{path}: no credentials: {_none_of(path)}, and this is no instance")
    is_unsupported = type(error).__name__ == "NotSupportedError" or _UNSUPPORTED in str(error)
    return StorageError(f"{path}: {_first_words(error)}", is_unsupported=is_unsupported)


def _code(error: Exception) -> str:
    """Return the store's own word for an error, in brackets, or nothing."""
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return f" ({code.group(1)})" if code else ""


def _first_words(error: Exception) -> str:
    """The first sentence: what follows may hold whole answers of the store, keys among them."""
    said = re.sub(r"\s+", " ", str(error).split("\n\nDebug source")[0].split("<?xml")[0])
    return f"{said[:300].strip(' :')}{_code(error)}"


def _none_of(path: str) -> str:
    if path.startswith("gs:"):
        return f"none by {_NO_GOOGLE_CREDENTIALS}"
    return "AWS_ACCESS_KEY_ID and its kin are not set, nor AWS_PROFILE"


def _who(path: str) -> str:
    if path.startswith("gs:"):
        return f"credentials: {_NO_GOOGLE_CREDENTIALS}, or the instance's service account"
    if not path.startswith("s3a:"):
        return "the store's usual credentials are used"
    name = os.environ.get("AWS_PROFILE")
    return f"AWS_PROFILE is {name}" if name else "credentials: environment, AWS profile or instance role"


_s3_regions: dict[str, str] = {}


def set_s3_region(root: str, region: str) -> None:
    """Use this region for a bucket (s3a://BUCKET), regardless of the environment and the AWS profile."""
    _s3_regions[root] = region
    store_of.cache_clear()


@functools.lru_cache(maxsize=32)
def store_of(root: str) -> ObjectStore:
    """Return the bucket's store, one a process."""
    from obstore.store import from_url

    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR}
    client: ClientConfig = {"read_timeout": _SILENCE, "connect_timeout": _SILENCE, "timeout": timedelta(minutes=10)}
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
