"""The photos and the working folder of benchmarks."""

from __future__ import annotations

import tarfile
from functools import cached_property
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"


class Bench:
    """A temporary folder for the parts, with photos that are unpacked at their first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def test(self) -> Path:
        """Fruits-360's test photos, 4,120 of them."""
        return unpack("test", self.folder) / "Test"

    @cached_property
    def training(self) -> Path:
        """Fruits-360's training photos, 16,480 of them."""
        return unpack("training", self.folder) / "Training"


def unpack(split: str, folder: Path) -> Path:
    """Unpack Fruits-360's "training" or "test" photos; return the folder that holds Training or Test."""
    with tarfile.open(DATA / f"fruits360-{split}.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fruits360"
