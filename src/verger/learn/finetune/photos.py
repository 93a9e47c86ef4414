"""The labelled photos, decoded once into a file on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from verger.errors import DecodeError, SourceError
from verger.kernel.decode import RGB, decode_rgb
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.split import split_photos
from verger.process.progress import Progress
from verger.sources.content import read_photo

# Photos to train on are kept this much larger than the input, so that a crop is seldom enlarged.
_MARGIN = 1.15

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Photos:
    """One side of the split: (n, size, size, 3) uint8 RGB on disk, and the (n,) label numbers."""

    pixels: RGB
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Rejected:
    """A photo that could not be read."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Dataset:
    """Both sides, the names of the labels, and what was set aside."""

    training: Photos
    validation: Photos
    labels: list[str]
    rejected: list[Rejected]

    @property
    def reasons(self) -> dict[str, int]:
        """How many photos were rejected for which reason."""
        return dict(Counter(photo.reason for photo in self.rejected).most_common())


@dataclass
class _Reading:
    """Goes on in threads: each photo has its row in a file of its own, so nothing waits for another."""

    progress: Progress
    max_pixels: int
    n_done: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def read(self, paths: list[str], size_px: int, file: Path) -> tuple[RGB, npt.NDArray[np.bool_]]:
        """Return the pixels of all paths, and which rows were read."""
        pixels = _open_file(file, (len(paths), size_px, size_px, 3))
        is_read = np.zeros(len(paths), bool)

        def load(row: int) -> DecodeError | None:
            try:
                pixels[row] = _read_photo(paths[row], size_px, self.max_pixels)
            except DecodeError as error:
                return error
            is_read[row] = True
            return None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, error in zip(paths, pool.map(load, range(len(paths))), strict=True):
                if error is not None:
                    self.rejected.append(Rejected(path, error.reason, error.detail))
                self.n_done += 1
                self.progress.advance(self.n_done, len(self.rejected))
        return pixels, is_read


def read_dataset(listing: Path, options: FinetuneOptions, folder: Path, progress: Progress) -> Dataset:
    """Split the listed photos and read them into files in `folder`.

    Photos to validate on are what the network will see: resized to its input in one step, as
    `verger features` does. Raises SourceError where too few can be read.
    """
    table = pq.read_table(listing, columns=["path", "label"]).to_pydict()
    paths, names = np.array(table["path"], object), np.array(table["label"], object)
    is_held_out = split_photos(list(paths), list(names), share=options.validation, seed=options.seed)
    reading = _Reading(progress, options.max_pixels)
    progress.stage("read photos", len(paths))
    sides = []
    for chosen, size_px, name in (
        (~is_held_out, round(options.input_px * _MARGIN), "training"),
        (is_held_out, options.input_px, "validation"),
    ):
        pixels, is_read = reading.read(list(paths[chosen]), size_px, folder / f"{name}.pixels")
        sides.append((pixels, names[chosen], is_read))
    return _put_together(sides, reading.rejected)


def _put_together(
    sides: list[tuple[RGB, npt.NDArray[np.object_], npt.NDArray[np.bool_]]], rejected: list[Rejected]
) -> Dataset:
    """Number the labels that can be trained on; photos to validate on that have another are left out."""
    _, names, is_read = sides[0]
    labels = sorted(set(names[is_read]))
    number = {label: i for i, label in enumerate(labels)}
    training, validation = (
        _take(
            pixels, np.array([number.get(name, -1) if good else -1 for name, good in zip(own, read, strict=True)])
        )
        for pixels, own, read in sides
    )
    if len(labels) < 2:
        found = ", ".join(labels) or "none"
        raise SourceError(f"fine-tuning needs photos of two labels (a folder each) or more, and found: {found}")
    if not len(validation):
        raise SourceError("there is no photo to validate on: give some label two photos or more that can be read")
    return Dataset(training, validation, labels, rejected)


def _take(pixels: RGB, numbers: Labels) -> Photos:
    if (numbers >= 0).all():
        return Photos(pixels, numbers)
    kept = np.flatnonzero(numbers >= 0)
    for to, row in enumerate(kept):  # moved up in the file, not copied into memory
        pixels[to] = pixels[row]
    return Photos(pixels[: len(kept)], numbers[kept])


def _open_file(file: Path, shape: tuple[int, ...]) -> RGB:
    with file.open("wb") as made:
        # A full disk must be an error here: found by a write to mapped memory, it kills the process.
        n_bytes = max(1, int(np.prod(shape)))
        reserve: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
        if reserve is not None:
            reserve(made.fileno(), 0, n_bytes)
        else:
            made.truncate(n_bytes)
    if shape[0] == 0:
        return np.zeros(shape, np.uint8)
    return np.memmap(file, np.uint8, "r+", shape=shape)


def _read_photo(path: str, size_px: int, max_pixels: int) -> RGB:
    return decode_rgb(read_photo(path, max_pixels), max_pixels=max_pixels, size_px=(size_px, size_px))
