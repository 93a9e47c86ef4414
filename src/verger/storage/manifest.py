"""manifest.json of a result: which command ran, on which photos, with which settings, and what it computed.

A run writes its manifest last, so a result that has a manifest is complete.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verger.errors import ResultError
from verger.storage.uri import AnyPath

MANIFEST = "manifest.json"

# Version of the schema below. A file without a version has version 1.
_VERSION = 1

# PCA needs two vectors, because one vector has no variance. A run that can read fewer photos writes no components.
MIN_TO_REDUCE = 2

_PACKAGES = ("keras", "openvino", "numpy", "pillow", "pyarrow")


class Manifest(BaseModel):
    """Content of manifest.json, which a run fills in step by step; times are in seconds.

    Any key may be missing in a file. Keys that this version of verger does not know are kept.
    """

    model_config = ConfigDict(extra="allow")

    version: int = Field(default=_VERSION, le=_VERSION)
    command: str = ""
    source: str = ""
    settings: dict[str, Any] = {}
    verger: str = ""
    created: str = ""
    versions: dict[str, str] = {}
    network: dict[str, Any] | None = None
    counts: dict[str, Any] = {}
    skipped_files: dict[str, int] = {}
    label_warnings: list[str] = []
    reduction: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    exports: list[str] = []
    table_versions: dict[str, int] = {}
    timings_s: dict[str, float] = {}
    photos_per_s: float | None = None

    @classmethod
    def start(cls, command: str, source: str, settings: dict[str, Any]) -> Self:
        """Return the manifest of a run that starts now."""
        return cls(
            command=command,
            # JSON cannot hold a path that is not UTF-8.
            source=os.fsencode(source).decode("utf-8", "backslashreplace"),
            settings=settings,
            verger=metadata.version("verger"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=software_versions(),
        )

    @property
    def rejected_share(self) -> float:
        """The share of the listed photos that was rejected."""
        return float(self.counts.get("rejected", 0) / max(self.counts.get("listed", 0), 1))

    @property
    def warnings(self) -> list[str]:
        """Warnings that users must read before they use the result."""
        warnings = list(self.label_warnings)
        weights = self.text("network", "weights_from") or ""
        if weights.startswith("random:"):
            warnings.append(
                f"weights = {weights}: the features say nothing about the fruit; use them for tests only"
            )
        if n_set_aside := self.counts.get("metadata", {}).get("set-aside"):
            warnings.append(
                f"verger could not remove the metadata of {n_set_aside} files, so only their first bytes are "
                "packed (`set-aside` in column `metadata` of images/): --keep-metadata packs whole files"
            )
        n_features = self.counts.get("features", 0)
        if self.command == "run" and n_features < MIN_TO_REDUCE:
            warnings.append(
                f"no components: PCA needs at least two photos that can be read, but there are {n_features}"
            )
        return warnings

    @property
    def facts(self) -> dict[str, Any]:
        """The keys and values that were read from the file or set by the code, without defaults."""
        return self.model_dump(exclude_unset=True)

    def section(self, *keys: str) -> Mapping[str, Any]:
        """Return the JSON object at a path of keys; empty if there is none."""
        value = self._value(keys)
        return value if isinstance(value, dict) else {}

    def text(self, *keys: str) -> str | None:
        """Return the string at a path of keys; None if it is missing or empty."""
        value = self._value(keys)
        return value if isinstance(value, str) and value else None

    def number(self, *keys: str) -> float | None:
        """Return the finite number at a path of keys; None if there is none."""
        value = self._value(keys)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and math.isfinite(value) else None

    def _value(self, keys: Sequence[str]) -> Any:
        value = getattr(self, keys[0], None)
        for key in keys[1:]:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to the time of the stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            time_s = self.timings_s.get(stage, 0.0) + time.monotonic() - start
            self.timings_s[stage] = round(time_s, 3)

    def to_json(self, indent: int | None = None) -> str:
        """Return the manifest as JSON."""
        return json.dumps(self.model_dump(), indent=indent, default=str)

    def write(self, folder: AnyPath) -> None:
        """Write manifest.json into `folder`."""
        (folder / MANIFEST).write_text(self.to_json(indent=2) + "\n")


def read_manifest(result: AnyPath) -> Manifest:
    """Read manifest.json of a result; raises ResultError if it is missing or not valid."""
    path = result / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(f"{result} is not a finished verger result: it has no {MANIFEST}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        advice = "written by a later version of verger: upgrade" if key == "version" else first["msg"]
        raise ResultError(f"{path} cannot be read: {f'{key}: ' if key else ''}{advice}") from error
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read: {error}") from error


def find_manifest(result: AnyPath) -> Manifest | None:
    """Return the manifest of a result; None if it is missing or not valid."""
    with suppress(ResultError):
        return read_manifest(result)
    return None


def software_versions() -> dict[str, str]:
    """Return the versions of Python, and of the packages on which the numbers in a result depend."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES}
