"""Settings of Google Cloud Storage; if STORAGE_EMULATOR_HOST is set, requests go to this emulator."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

from verger.storage.objects.address_check import check_endpoint


def emulator() -> str | None:
    """Return the address http://HOST:PORT of the emulator that Google's own clients would use, or None.

    Raises SettingsError if the variable contains no address.
    """
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if not host:
        return None
    return check_endpoint("STORAGE_EMULATOR_HOST", host if "://" in host else f"http://{host}")


def emulator_account(url: str) -> str:
    """Return a service account for obstore that sends requests to an emulator and needs no login."""
    no_account = {"client_email": "", "private_key": "", "private_key_id": ""}
    return json.dumps({"gcs_base_url": url, "disable_oauth": True, **no_account})


def file_system() -> Any:
    """Return pyarrow's file system for Cloud Storage."""
    from pyarrow import fs

    url = emulator()
    if url is None:
        return fs.GcsFileSystem()
    parts = urlsplit(url)
    return fs.GcsFileSystem(anonymous=True, scheme=parts.scheme, endpoint_override=parts.netloc)
