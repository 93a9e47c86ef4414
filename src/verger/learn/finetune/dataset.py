"""The training and validation photos, decoded once into files on disk."""

from __future__ import annotations

import os
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
from verger.learn.finetune.validation_split import split_photos
from verger.process.progress import Progress
from verger.sources.content import read_photo

# The size of training photos as a multiple of the network's input size. It is above 1, so that crops rarely need to
# be enlarged.
_MARGIN = 1.15

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DecodedPhotos:
    """Training or validation photos: (n, size, size, 3) uint8 RGB on disk, and label numbers (n,)."""

    pixels: RGB
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class RejectedPhoto:
    """A photo that could not be read, and why."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Dataset:
    """The training and validation photos, the names of the labels, and the rejected photos."""

    training: DecodedPhotos
    validation: DecodedPhotos
    labels: list[str]
    rejected: list[RejectedPhoto]


@dataclass
class _Reader:
    """Decodes photos in threads, and writes each photo to its row in a file. Counts the photos of all calls."""

    progress: Progress
    max_pixels: int
    n_done: int = 0
    rejected: list[RejectedPhoto] = field(default_factory=list)

    def read(self, paths: list[str], size_px: int, file: Path) -> tuple[RGB, npt.NDArray[np.bool_]]:
        """Decode the photos into `file`; return the pixels, and for each photo whether it could be read."""
        pixels = _allocate(file, (len(paths), size_px, size_px, 3))
        is_read = np.zeros(len(paths), bool)

        def load(row: int) -> DecodeError | None:
            try:
                pixels[row] = _read_photo(paths[row], size_px, self.max_pixels)
            except DecodeError as error:
                return error
            return None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, error in enumerate(pool.map(load, range(len(paths)))):
                is_read[row] = error is None
                if error is not None:
                    self.rejected.append(RejectedPhoto(paths[row], error.reason, error.detail))
                self.n_done += 1
                self.progress.advance(self.n_done, len(self.rejected))
        return pixels, is_read


def read_dataset(listing: Path, options: FinetuneOptions, folder: Path, progress: Progress) -> Dataset:
    """Split the listed photos and read them into files in `folder`.

    Validation photos are resized to the network's input in one step, as `verger features` does. Raises SourceError
    if too few photos can be read.
    """
    table = pq.read_table(listing, columns=["path", "label"]).to_pydict()
    paths, names = np.array(table["path"], object), np.array(table["label"], object)
    is_held_out = split_photos(list(paths), list(names), share=options.validation, seed=options.seed)
    reader = _Reader(progress, options.max_pixels)
    progress.stage("read photos", len(paths))
    sides = []
    for chosen, size_px, name in (
        (~is_held_out, round(options.input_px * _MARGIN), "training"),
        (is_held_out, options.input_px, "validation"),
    ):
        pixels, is_read = reader.read(list(paths[chosen]), size_px, folder / f"{name}.pixels")
        sides.append((pixels, names[chosen], is_read))
    return _build_dataset(sides, reader.rejected)


def _build_dataset(
    sides: list[tuple[RGB, npt.NDArray[np.object_], npt.NDArray[np.bool_]]], rejected: list[RejectedPhoto]
) -> Dataset:
    """Number the labels of the training photos; validation photos without a number are left out."""
    _, names, is_read = sides[0]
    labels = sorted(set(names[is_read]))
    number = {label: i for i, label in enumerate(labels)}
    training, validation = (
        _keep_numbered(
            pixels, np.array([number.get(name, -1) if ok else -1 for name, ok in zip(side, is_read, strict=True)])
        )
        for pixels, side, is_read in sides
    )
    if len(labels) < 2:
        found = ", ".join(labels) or "none"
        raise SourceError(f"fine-tuning needs photos of at least two labels (one folder per label); found: {found}")
    if not len(validation):
        raise SourceError("no photo is left for validation: at least one label needs two photos that can be read")
    return Dataset(training, validation, labels, rejected)


def _keep_numbered(pixels: RGB, numbers: Labels) -> DecodedPhotos:
    """Return the photos whose label number is not negative."""
    if (numbers >= 0).all():
        return DecodedPhotos(pixels, numbers)
    kept = np.flatnonzero(numbers >= 0)
    for target, row in enumerate(kept):  # rows are moved within the file, because a copy may not fit into memory
        pixels[target] = pixels[row]
    return DecodedPhotos(pixels[: len(kept)], numbers[kept])


def _allocate(file: Path, shape: tuple[int, ...]) -> RGB:
    """Create a file for an array of pixels with this shape, and map the file into memory."""
    with file.open("wb") as opened:
        # Reserve the space now, because on a full disk a write to mapped memory would kill the process.
        n_bytes = max(1, int(np.prod(shape)))
        reserve: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
        if reserve is not None:
            reserve(opened.fileno(), 0, n_bytes)
        else:
            opened.truncate(n_bytes)
    if shape[0] == 0:
        return np.zeros(shape, np.uint8)
    return np.memmap(file, np.uint8, "r+", shape=shape)


def _read_photo(path: str, size_px: int, max_pixels: int) -> RGB:
    return decode_rgb(read_photo(path, max_pixels), max_pixels=max_pixels, size_px=(size_px, size_px))
