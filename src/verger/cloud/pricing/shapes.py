"""Text form of a cluster's shape: 4xm5.xlarge, or 2..8xm5.xlarge for 2 to 8 workers."""

from __future__ import annotations

import re

from verger.cloud.deploy.provider import Shape
from verger.errors import SettingsError

_FORM = re.compile(r"(?P<workers>\d+)(\.\.(?P<most>\d+))?x(?P<machine>[A-Za-z][\w.-]*)")
_EXPECTED = "WORKERSxMACHINE, as 4xm5.xlarge, or MIN..MAXxMACHINE, as 2..8xm5.xlarge; at least one worker"


def parse_shape(text: str, primary: str | None = None, *, spot: bool = True) -> Shape:
    """Return the shape; the primary machine is of the workers' type if `primary` is not given."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise SettingsError("shape", text, _EXPECTED)
    workers, most = int(match["workers"]), int(match["most"] or match["workers"])
    if not 1 <= workers <= most:
        raise SettingsError("shape", text, _EXPECTED)
    max_workers = most if most > workers else None
    return Shape(workers, match["machine"], primary or match["machine"], max_workers, spot)


def shape_text(shape: Shape) -> str:
    """Return the text that `parse_shape` reads."""
    most = f"..{shape.max_workers}" if shape.max_workers else ""
    return f"{shape.workers}{most}x{shape.machine}"
