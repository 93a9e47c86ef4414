"""Hashes of files and paths. The same input has the same hash in every process and on every machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(text: str) -> bytes:
    """Return the 8-byte BLAKE2b hash of a text. The text may be a path with bytes that are not valid UTF-8."""
    return hashlib.blake2b(os.fsencode(text), digest_size=8).digest()


def hash_to_integer(text: str) -> int:
    """Return `hash_text` as a number from 0 to 2**64 - 1."""
    return int.from_bytes(hash_text(text), "big")
