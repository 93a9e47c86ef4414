"""Google's clients, and what Google says when it refuses, in words.

They are found as gcloud finds them: who asks by application default credentials, and other endpoints (a private
one, an emulator) by its own CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAPROC and _COMPUTE, and by STORAGE_EMULATOR_HOST.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verger.errors import CloudError, SetupError

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import BatchControllerClient, ClusterControllerClient, JobControllerClient
    from google.cloud.storage import Client as StorageClient

_MISSING = "Google's cloud needs its clients: pip install 'verger[gcp]'"
NO_CREDENTIALS = (
    "there are no credentials for Google's cloud: `gcloud auth application-default login` (or "
    "GOOGLE_APPLICATION_CREDENTIALS), then try again"
)
_TOLD_AT_MOST = 600
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Clients:
    """What asks Dataproc, Cloud Storage and Compute Engine for one project and region."""

    project: str
    region: str
    credentials: Any

    @property
    def clusters(self) -> ClusterControllerClient:
        """For clusters of machines."""
        from google.cloud.dataproc_v1 import ClusterControllerClient

        return ClusterControllerClient(**self._dataproc())

    @property
    def jobs(self) -> JobControllerClient:
        """For jobs on clusters."""
        from google.cloud.dataproc_v1 import JobControllerClient

        return JobControllerClient(**self._dataproc())

    @property
    def batches(self) -> BatchControllerClient:
        """For jobs that bring their machines."""
        from google.cloud.dataproc_v1 import BatchControllerClient

        return BatchControllerClient(**self._dataproc())

    @property
    def storage(self) -> StorageClient:
        """For buckets and what lies in them."""
        from google.cloud.storage import Client

        return Client(project=self.project, credentials=self.credentials)

    def compute(self, path: str, **query: str) -> dict[str, Any]:
        """Return an answer of Compute Engine, for which there is no need of one more library."""
        from google.auth.transport.requests import AuthorizedSession

        endpoint = _endpoint("compute") or "https://compute.googleapis.com"
        with AuthorizedSession(self.credentials) as session:  # type: ignore[no-untyped-call]
            answer = session.get(f"{endpoint}/compute/v1/projects/{self.project}/{path}", params=query, timeout=60)
        if not answer.ok:
            raise CloudError(f"Google does not list {path}: {answer.status_code} {answer.reason}")
        told: dict[str, Any] = answer.json()
        return told

    def _dataproc(self) -> dict[str, Any]:
        # By HTTP and JSON: as typed as gRPC, and a proxy lets it through.
        endpoint = _endpoint("dataproc") or f"{self.region}-dataproc.googleapis.com"
        return {
            "credentials": self.credentials,
            "transport": "rest",
            "client_options": {"api_endpoint": endpoint},
        }


def open_clients(project: str, region: str) -> Clients:
    """Return the clients. Raises SetupError where the extra or credentials lack."""
    try:
        import google.auth
        import google.cloud.dataproc_v1
        import google.cloud.storage
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError as error:
        raise SetupError(_MISSING) from error
    if "STORAGE_EMULATOR_HOST" in os.environ:
        return Clients(project, region, AnonymousCredentials())  # type: ignore[no-untyped-call]
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        raise SetupError(NO_CREDENTIALS) from error
    return Clients(project, region, credentials)


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn Google's exceptions into SetupError (credentials) and CloudError (all else)."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import ConnectionError as Unreached
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        yield
    except GoogleAuthError as error:
        raise SetupError(f"{NO_CREDENTIALS} ({_in_a_line(error)})") from error
    except Unreached as error:
        raise CloudError(f"Google's cloud cannot be reached: {_in_a_line(error)}") from error
    except TimeoutError as error:
        raise CloudError(f"Google's cloud takes too long: {_in_a_line(error)}") from error
    except GoogleAPIError as error:
        raise CloudError(f"Google refuses: {_in_a_line(error)}") from error


def _in_a_line(error: Exception) -> str:
    """Return all that Google says: of several errors the first line tells only that there are several."""
    return " ".join(str(error).split())[:_TOLD_AT_MOST] or type(error).__name__


def _endpoint(service: str) -> str | None:
    named = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}")
    return named.rstrip("/") if named else None
