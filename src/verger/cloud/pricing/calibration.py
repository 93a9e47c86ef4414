"""How many photos a core does in a second: measured once, kept as JSON, and taken for cores elsewhere.

`calibrations.json` beside this file holds what this project's own benchmarks say; `verger cost --calibrate SRC`
measures it on one's own photos (`verger.cli.calibrate`).
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verger.errors import SettingsError
from verger.sources.partitions import BYTES_PER_WEIGHT

BUNDLED = Path(__file__).with_name("calibrations.json")
DEFAULT_MODEL = "MobileNetV2"

# As in `PartitionRule`: the bytes that are decoded in the time of one inference of MobileNetV2.
_MS_A_BYTE = 9.0 / BYTES_PER_WEIGHT


# Decoding and resizing, of JPEG with 12 megapixels: benchmarks/camera.py.
_MS_A_MEGAPIXEL = {"exact": 8.6, "scaled": 2.5}


class Calibration(BaseModel):
    """Photos a second and core in the featurize stage, and what they were measured with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    photos_per_core_s: float = Field(gt=0)
    n_features: int = Field(gt=0)
    mean_bytes: float = Field(gt=0)
    mean_megapixels: float = Field(gt=0)
    processor: str
    cores: int = Field(gt=0)
    date: date
    verger: str
    note: str = ""

    def photo_ms(self, mean_bytes: float) -> float:
        """Return the milliseconds of a core for a photo: larger ones take longer to decode, smaller ones less."""
        measured = 1000 / self.photos_per_core_s
        # A photo of no bytes would take most of the time still: the network's.
        return max(measured + (mean_bytes - self.mean_bytes) * _MS_A_BYTE, measured / 2)

    def photo_ms_by_pixels(self, megapixels: float, decode: str = "exact") -> float:
        """Return the milliseconds of a core for a photo of this many megapixels, decoded exactly or scaled."""
        measured = 1000 / self.photos_per_core_s
        more = max(megapixels - self.mean_megapixels, 0.0)
        return measured + more * _MS_A_MEGAPIXEL[decode]


def load_calibration(file: Path | None = None, model: str = DEFAULT_MODEL) -> Calibration:
    """Return the calibration of a file, or the bundled one of a model. Raises SettingsError."""
    if file is None:
        bundled = json.loads(BUNDLED.read_text())
        if model not in bundled:
            expected = f"one of {', '.join(bundled)}; any other: --calibrate SRC, or --calibration FILE"
            raise SettingsError("model", model, expected)
        return Calibration.model_validate(bundled[model])
    try:
        return Calibration.model_validate_json(file.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{file.name}: {key}", first["input"], first["msg"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("calibration", str(file), f"what --calibrate has written; {error}") from error


def save_calibration(calibration: Calibration, file: Path) -> None:
    """Write it where `load_calibration` reads it."""
    file.write_text(calibration.model_dump_json(indent=2) + "\n")
