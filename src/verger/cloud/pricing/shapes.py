"""The text form of a cluster's shape: 4xm5.xlarge for 4 workers, 2..8xm5.xlarge for 2 to 8 workers."""

from __future__ import annotations

import re

from verger.cloud.deploy.provider import Shape
from verger.errors import SettingsError

_FORM = re.compile(r"(?P<workers>\d+)(\.\.(?P<most>\d+))?x(?P<machine>[A-Za-z][\w.-]*)")
_EXPECTED = "WORKERSxMACHINE (4xm5.xlarge) or MIN..MAXxMACHINE (2..8xm5.xlarge), with at least one worker"


def parse_shape(text: str, primary: str | None = None, *, spot: bool = True) -> Shape:
    """Return the shape; without `primary`, the primary machine has the same type as the workers."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise SettingsError("shape", text, _EXPECTED)
    workers, most = int(match["workers"]), int(match["most"] or match["workers"])
    if not 1 <= workers <= most:
        raise SettingsError("shape", text, _EXPECTED)
    max_workers = most if most > workers else None
    return Shape(workers, match["machine"], primary or match["machine"], max_workers, spot)


def shape_text(shape: Shape) -> str:
    """Return a shape as text, which `parse_shape` can read."""
    most = f"..{shape.max_workers}" if shape.max_workers else ""
    return f"{shape.workers}{most}x{shape.machine}"
