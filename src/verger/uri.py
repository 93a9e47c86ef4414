"""Paths as Spark writes them (file:/a b/c.jpg, not percent-encoded) and as Python opens them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


def to_uri(path: str) -> str:
    """Return an absolute local path as Hadoop's `Path.toString` writes it."""
    return "file:" + os.path.abspath(path)


def is_local(uri: str) -> bool:
    """Tell whether `uri` is a plain path or a file: URI."""
    match = _SCHEME.match(uri)
    return match is None or match.group(1).lower() == "file"


def to_local(uri: str) -> str:
    """Return the local path of a plain path or a file:/, file:// or file:/// URI."""
    if not uri.lower().startswith("file:"):
        return uri
    rest = uri[len("file:") :]
    return "/" + rest.lstrip("/") if rest.startswith("/") else rest


def local_folder(value: str) -> Path:
    """Return an absolute local path, `~` expanded."""
    return Path(os.path.abspath(os.path.expanduser(to_local(value))))
