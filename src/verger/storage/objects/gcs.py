"""Cloud Storage's settings as Google's own tools find them: an emulator where one is named."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit


def emulator() -> str | None:
    """Return the address of an emulator, http://HOST:PORT, where Google's own clients would use one."""
    named = os.environ.get("STORAGE_EMULATOR_HOST")
    return named if named is None or "://" in named else f"http://{named}"


def emulator_account(url: str) -> str:
    """Return the service account by which obstore asks an emulator, without logging in anywhere."""
    nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
    return json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody})


def file_system() -> Any:
    """Return the store as pyarrow sees it."""
    from pyarrow import fs

    url = emulator()
    if url is None:
        return fs.GcsFileSystem()
    parts = urlsplit(url)
    return fs.GcsFileSystem(anonymous=True, scheme=parts.scheme, endpoint_override=parts.netloc)
