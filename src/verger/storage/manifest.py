"""manifest.json: what ran, on what, with what result. Put in place last: an OUT that has one is whole."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from verger.storage.commit import MANIFEST
from verger.storage.uri import AnyPath

# One vector has no variance: a run that reads fewer photos ends without components, and keeps the rest.
MIN_TO_REDUCE = 2

_PACKAGES = ("keras", "openvino", "numpy", "pillow", "pyarrow")


@dataclass
class Manifest:
    """Filled in as a run goes on; times in seconds."""

    command: str
    source: str
    settings: dict[str, Any]
    verger: str = field(default_factory=lambda: version("verger"))
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: software_versions())
    network: dict[str, Any] | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    reduction: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    exports: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    photos_per_s: float | None = None

    @property
    def rejected_share(self) -> float:
        """The share of the listed photos that was rejected."""
        return float(self.counts.get("rejected", 0) / max(self.counts.get("listed", 0), 1))

    @property
    def warnings(self) -> list[str]:
        """What whoever uses the result must know first."""
        told = []
        weights = str((self.network or {}).get("weights_from", ""))
        if weights.startswith("random:"):
            told.append(f"weights = {weights}: the vectors say nothing about the fruit; the chain was only tried")
        if n_set_aside := self.counts.get("metadata", {}).get("set-aside"):
            told.append(
                f"{n_set_aside} files are set aside, with their first bytes alone: what they hold cannot be told "
                "(`metadata` in images/ says which; --keep-metadata packs all as they are)"
            )
        n_features = self.counts.get("features", 0)
        if self.command == "run" and n_features < MIN_TO_REDUCE:
            told.append(f"no components: PCA needs two photos that can be read, and there are {n_features}")
        return told

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's time to the stage's."""
        start = time.monotonic()
        try:
            yield
        finally:
            spent = self.timings_s.get(stage, 0.0) + time.monotonic() - start
            self.timings_s[stage] = round(spent, 3)

    def write(self, folder: AnyPath) -> None:
        """Write manifest.json into `folder`."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2, default=str) + "\n")


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
