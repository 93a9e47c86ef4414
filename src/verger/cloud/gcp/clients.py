"""Google's clients, and the translation of their errors into verger's errors.

Credentials are the application default credentials. Other endpoints (a private one, an emulator) are set as for
gcloud, by the variables CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAPROC and _COMPUTE, and STORAGE_EMULATOR_HOST.
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

_MISSING = "Google Cloud needs its clients: pip install 'verger[gcp]'"
NO_CREDENTIALS = (
    "there are no credentials for Google Cloud: run `gcloud auth application-default login`, or set "
    "GOOGLE_APPLICATION_CREDENTIALS; then try again"
)
_MAX_MESSAGE_CHARS = 600
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Clients:
    """Clients of Dataproc, Cloud Storage and Compute Engine for one project and region."""

    project: str
    region: str
    credentials: Any

    @property
    def clusters(self) -> ClusterControllerClient:
        """Client for clusters."""
        from google.cloud.dataproc_v1 import ClusterControllerClient

        return ClusterControllerClient(**self._dataproc())

    @property
    def jobs(self) -> JobControllerClient:
        """Client for jobs on clusters."""
        from google.cloud.dataproc_v1 import JobControllerClient

        return JobControllerClient(**self._dataproc())

    @property
    def batches(self) -> BatchControllerClient:
        """Client for batches, which are jobs with their own machines."""
        from google.cloud.dataproc_v1 import BatchControllerClient

        return BatchControllerClient(**self._dataproc())

    @property
    def storage(self) -> StorageClient:
        """Client for buckets and objects."""
        from google.cloud.storage import Client

        return Client(project=self.project, credentials=self.credentials)

    def compute(self, path: str, **query: str) -> dict[str, Any]:
        """Return the answer of Compute Engine to one GET request. Its client library is not used."""
        from google.auth.transport.requests import AuthorizedSession

        endpoint = _endpoint("compute") or "https://compute.googleapis.com"
        with AuthorizedSession(self.credentials) as session:  # type: ignore[no-untyped-call]
            answer = session.get(f"{endpoint}/compute/v1/projects/{self.project}/{path}", params=query, timeout=60)
        if not answer.ok:
            raise CloudError(f"Google does not list {path}: {answer.status_code} {answer.reason}")
        content: dict[str, Any] = answer.json()
        return content

    def _dataproc(self) -> dict[str, Any]:
        # HTTP and JSON instead of gRPC, because many proxies do not pass gRPC on.
        endpoint = _endpoint("dataproc") or f"{self.region}-dataproc.googleapis.com"
        return {
            "credentials": self.credentials,
            "transport": "rest",
            "client_options": {"api_endpoint": endpoint},
        }


def open_clients(project: str, region: str) -> Clients:
    """Return the clients. Raises SetupError if the extra or credentials are missing."""
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
    """Translate Google's exceptions: SetupError for credentials, CloudError for all others."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import ConnectionError as RequestsConnectionError
    except ImportError as error:
        raise SetupError(_MISSING) from error
    try:
        yield
    except GoogleAuthError as error:
        raise SetupError(f"{NO_CREDENTIALS} ({_one_line(error)})") from error
    except RequestsConnectionError as error:
        raise CloudError(f"Google Cloud cannot be reached: {_one_line(error)}") from error
    except TimeoutError as error:
        raise CloudError(f"Google Cloud takes too long: {_one_line(error)}") from error
    except GoogleAPIError as error:
        raise CloudError(f"Google refuses: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Return the whole message in one line, because a message about several errors names none in its first line."""
    return " ".join(str(error).split())[:_MAX_MESSAGE_CHARS] or type(error).__name__


def _endpoint(service: str) -> str | None:
    endpoint = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}")
    return endpoint.rstrip("/") if endpoint else None
