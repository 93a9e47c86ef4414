"""Photos that people allow to keep, in a folder or a bucket, and uploads to a bucket that wait for a request."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from verger.errors import StorageError
from verger.storage.atomic import flush, write_atomically
from verger.storage.objects.presigned import UploadForm, can_presign, presign_download, presign_upload
from verger.storage.uri import AnyPath, any_path

LINK_TIME = timedelta(minutes=10)  # in which a form or a link can be used
_UPLOADS = "uploads"

_log = logging.getLogger(__name__)


class PhotoStore:
    """Files with keys such as OBSERVATION/0. `folder` is a folder or a bucket's URI."""

    def __init__(self, folder: str) -> None:
        self._folder: AnyPath = any_path(folder)
        self.accepts_uploads = can_presign(self._folder)

    def write(self, key: str, photo: bytes) -> None:
        """Write a photo, complete and readable only by this user; raises StorageError."""
        file = self._folder / key
        if not isinstance(file, Path):
            file.write_bytes(photo)
            return
        with _translated(key):
            for folder in (Path(str(self._folder)), file.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with write_atomically(file) as temporary:
                temporary.touch(mode=0o600, exist_ok=False)
                temporary.write_bytes(photo)
                flush(temporary)
            for folder in (file.parent, file.parent.parent):
                flush(folder)

    def read(self, key: str, check_size: Callable[[int], None] | None = None) -> bytes:
        """Return a photo; raises FileNotFoundError or StorageError.

        check_size: called with the number of bytes before they are read; it may raise an error to stop.
        """
        file = self._folder / key
        if not isinstance(file, Path):
            return file.read_bytes(check_size)
        with _translated(key):
            if check_size is not None:
                check_size(file.stat().st_size)
            return file.read_bytes()

    def delete(self, key: str) -> None:
        """Delete a photo if it is there, and its folder when that is empty; raises StorageError."""
        file = self._folder / key
        with _translated(key):
            file.unlink(missing_ok=True)
        if isinstance(file, Path):
            with suppress(OSError):  # other photos of the observation
                file.parent.rmdir()

    def try_delete(self, key: str) -> bool:
        """Delete a photo as `delete` does; if that fails, log the cause and return False."""
        try:
            self.delete(key)
        except StorageError as error:
            _log.warning("a photo is left for the next `verger serve purge`: %s", error)
            return False
        return True

    def link(self, key: str) -> str | None:
        """Return a link with which a kept photo can be read without the service for LINK_TIME; None in a folder."""
        file = self._folder / key
        return presign_download(file, LINK_TIME) if self.accepts_uploads and not isinstance(file, Path) else None

    def new_upload(self, upload_id: uuid.UUID, content_type: str, max_bytes: int) -> UploadForm:
        """Return a form with which a client uploads a photo to the bucket within LINK_TIME."""
        file = self._folder / upload_key(upload_id)
        if isinstance(file, Path):
            raise TypeError("a folder accepts no uploads")
        return presign_upload(file, content_type, max_bytes, LINK_TIME)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"the photo {key} cannot be used: {error.strerror}") from error


def upload_key(upload_id: uuid.UUID) -> str:
    """Return the key of the file of an upload."""
    return f"{_UPLOADS}/{upload_id}"
