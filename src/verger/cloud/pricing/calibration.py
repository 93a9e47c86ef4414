"""The speed of one core in photos per second. It is measured once, saved as JSON, and used to estimate cloud costs.

`calibrations.json` beside this file holds the results of this project's benchmarks; `verger cost --calibrate SRC`
measures the user's own photos (`verger.cli.speed_measurement`).
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

# As in `PartitionRule`: decoding BYTES_PER_WEIGHT bytes takes 9 ms, as long as one inference of MobileNetV2.
_MS_PER_BYTE = 9.0 / BYTES_PER_WEIGHT

# Time per megapixel to decode and resize a JPEG of 12 megapixels, by value of --decode (benchmarks/camera.py).
_MS_PER_MEGAPIXEL = {"exact": 8.6, "scaled": 2.5}


class Calibration(BaseModel):
    """Photos per second and core in the featurize stage, and the conditions of the measurement."""

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
        """Return the milliseconds that a core needs for a photo with this number of bytes."""
        measured = 1000 / self.photos_per_core_s
        # The network's time does not depend on the photo's size.
        return max(measured + (mean_bytes - self.mean_bytes) * _MS_PER_BYTE, measured / 2)

    def photo_ms_by_pixels(self, megapixels: float, decode: str = "exact") -> float:
        """Return the milliseconds that a core needs for a photo of `megapixels`; decode: exact or scaled."""
        measured = 1000 / self.photos_per_core_s
        extra_megapixels = max(megapixels - self.mean_megapixels, 0.0)
        return measured + extra_megapixels * _MS_PER_MEGAPIXEL[decode]


def load_calibration(file: Path | None = None, model: str = DEFAULT_MODEL) -> Calibration:
    """Return the calibration in a file, or the bundled one of a model. Raises SettingsError."""
    if file is None:
        bundled = json.loads(BUNDLED.read_text())
        if model not in bundled:
            expected = f"one of {', '.join(bundled)}; for other models use --calibrate SRC or --calibration FILE"
            raise SettingsError("model", model, expected)
        return Calibration.model_validate(bundled[model])
    try:
        return Calibration.model_validate_json(file.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{file.name}: {key}", first["input"], first["msg"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("calibration", str(file), f"a file that --calibrate has written; {error}") from error


def save_calibration(calibration: Calibration, file: Path) -> None:
    """Write a calibration to a file for `load_calibration`."""
    file.write_text(calibration.model_dump_json(indent=2) + "\n")
