"""The training photos of fruitnet, read into memory once."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

RGB = npt.NDArray[np.uint8]

N_FOLDS = 3
SHORT_SIDE_PX = 288  # of shop photos in memory: a view of 224 pixels may show 60 % of one


@dataclass(frozen=True)
class Photo:
    """A photo: (height, width, 3) uint8, its label (the name of its folder), its path within the archive."""

    path: str
    label: str
    pixels: RGB


def read_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of every JPEG in a tar archive, by path."""
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".jpg")]
        for member in sorted(members, key=lambda m: m.name):
            file = tar.extractfile(member)
            assert file is not None
            yield member.name, file.read()


def read_photos(archive: Path) -> list[Photo]:
    """Return the photos of an archive; large ones are resized to a short side of `SHORT_SIDE_PX`."""
    return [Photo(path, Path(path).parent.name, _pixels(data)) for path, data in read_archive(archive)]


def read_folder(folder: Path, prefix: str) -> list[Photo]:
    """Return the JPEGs below a folder; their label is `prefix` and the name of their folder."""
    files = sorted(folder.rglob("*.jpg"))
    return [Photo(str(file), prefix + file.parent.name, _pixels(file.read_bytes())) for file in files]


def _pixels(data: bytes) -> RGB:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    shrink = SHORT_SIDE_PX / min(image.size)
    if shrink < 1:
        image = image.resize((round(image.width * shrink), round(image.height * shrink)))
    return np.asarray(image)


def deal_folds(paths: list[str], n_folds: int = N_FOLDS) -> npt.NDArray[np.int64]:
    """Return each photo's fold, 0 to n_folds - 1: each label's photos, sorted by name, are split into runs.

    Photos with neighbouring numbers show the same shelf, so a run of them stays in one fold.
    """
    fold = np.zeros(len(paths), np.int64)
    labels = np.array([Path(path).parent.name for path in paths])
    for label in np.unique(labels):
        of_label = sorted(np.flatnonzero(labels == label), key=lambda i: Path(paths[i]).name)
        fold[of_label] = np.arange(len(of_label)) * n_folds // len(of_label)
    return fold
