"""Read a cluster's machines from a word: 4xm5.xlarge, or 2..8xm5.xlarge where there may be more of them."""

from __future__ import annotations

import re

from verger.cloud.deploy.provider import Shape
from verger.errors import SettingsError

_FORM = re.compile(r"(?P<workers>\d+)(\.\.(?P<most>\d+))?x(?P<machine>[A-Za-z][\w.-]*)")
_EXPECTED = "WORKERSxMACHINE, as 4xm5.xlarge, or FEW..MANYxMACHINE, as 2..8xm5.xlarge; one worker at least"


def parse_shape(text: str, primary: str | None = None, *, spot: bool = True) -> Shape:
    """Return the shape; the machine that leads is of the workers' kind where `primary` is not given."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise SettingsError("shape", text, _EXPECTED)
    workers, most = int(found["workers"]), int(found["most"] or found["workers"])
    if not 1 <= workers <= most:
        raise SettingsError("shape", text, _EXPECTED)
    max_workers = most if most > workers else None
    return Shape(workers, found["machine"], primary or found["machine"], max_workers, spot)


def shape_text(shape: Shape) -> str:
    """Return the word that `parse_shape` reads."""
    most = f"..{shape.max_workers}" if shape.max_workers else ""
    return f"{shape.workers}{most}x{shape.machine}"
