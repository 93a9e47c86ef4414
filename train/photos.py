"""The training photos of fruitnet, read into memory once."""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

RGB = npt.NDArray[np.uint8]

SHORT_SIDE_PX = 288  # of photos of scenes in memory
HELD_OUT_AUTHORS = 0.15  # share of the authors whose photos are only for evaluation


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


def read_authors(archive: Path) -> dict[str, str]:
    """Return the address of the author's page of each photo in an archive with CREDITS.csv, by the file's stem."""
    with tarfile.open(archive) as tar:
        name = next(name for name in tar.getnames() if Path(name).name == "CREDITS.csv")
        file = tar.extractfile(name)
        assert file is not None
        rows = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
        return {row["image"]: row["author_url"] for row in rows}


def is_held_out(author: str) -> bool:
    """Return whether an author's photos are only for evaluation: `HELD_OUT_AUTHORS` of all, by a hash."""
    return int(hashlib.sha256(author.encode()).hexdigest()[:8], 16) < HELD_OUT_AUTHORS * 2**32


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


def deal_folds(paths: list[str], n_folds: int) -> npt.NDArray[np.int64]:
    """Return each photo's fold, 0 to n_folds - 1: each label's photos, sorted by name, are split into runs.

    Photos with neighbouring numbers show the same shelf, so a run of them stays in one fold.
    """
    fold = np.zeros(len(paths), np.int64)
    labels = np.array([Path(path).parent.name for path in paths])
    for label in np.unique(labels):
        of_label = sorted(np.flatnonzero(labels == label), key=lambda i: Path(paths[i]).name)
        fold[of_label] = np.arange(len(of_label)) * n_folds // len(of_label)
    return fold
