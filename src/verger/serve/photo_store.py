"""Photos that people allow to keep, in a folder or a bucket."""

from __future__ import annotations

from pathlib import Path

from verger.storage.atomic import write_atomically
from verger.storage.uri import AnyPath, any_path


class PhotoStore:
    """Files with keys such as OBSERVATION/0. `folder` is a folder or a bucket's URI."""

    def __init__(self, folder: str) -> None:
        self._folder: AnyPath = any_path(folder)

    def write(self, key: str, photo: bytes) -> None:
        """Write a photo; it is complete or not there."""
        file = self._folder / key
        if not isinstance(file, Path):
            file.write_bytes(photo)
            return
        with write_atomically(file) as temporary:
            temporary.write_bytes(photo)

    def read(self, key: str) -> bytes:
        """Return a photo; raises FileNotFoundError."""
        return (self._folder / key).read_bytes()

    def delete(self, key: str) -> None:
        """Delete a photo if it is there, and its folder when that is empty."""
        file = self._folder / key
        file.unlink(missing_ok=True)
        if isinstance(file, Path):
            try:
                file.parent.rmdir()
            except OSError:  # other photos of the observation
                return
