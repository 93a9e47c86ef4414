"""The paths of photos and results that jobs on a cloud accept: one rule, with different values for each cloud."""

from __future__ import annotations

from dataclasses import dataclass

from verger.errors import CloudError
from verger.storage.objects import object_path
from verger.storage.uri import scheme_of


@dataclass(frozen=True)
class PathRule:
    """The paths that the jobs of one deployment can read and write.

    root: URI or folder of the deployment's own storage. Relative paths are inside this folder.
    prefix: the beginning of accepted absolute paths: s3a://, gs:// or /Volumes/.
    advice: the part of the error message after the refused path; it says what to do instead.
    """

    root: str
    prefix: str
    advice: str

    def resolve(self, path: str) -> str:
        """Return the absolute path, without a slash at its end; s3a:// becomes s3://.

        Raises CloudError for a folder on this machine and for a store that the jobs cannot reach.
        """
        absolute = str(object_path(path) or path.rstrip("/"))
        if absolute.startswith(self.prefix):
            return absolute.replace("s3a://", "s3://", 1)
        if scheme_of(path) != "file" or path.startswith(("/", "~", "..", "file:")):
            raise CloudError(f"{path}: {self.advice}")
        return f"{self.root}/{path.removeprefix('./').strip('/')}"
