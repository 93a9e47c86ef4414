"""Write augmented views of labelled photos as JPEG files. They help to train a classifier that generalises better.

Views cannot be made during training, because the classifier is trained on features that already exist. Compute the
features of the views with `verger features`, as for any folder of photos.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from verger.errors import DecodeError, SettingsError, SourceError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_rgb
from verger.learn.augment.views import augment
from verger.process.progress import Progress
from verger.sources.content import read_photo
from verger.sources.partitions import Selection, list_photo_files
from verger.storage.commit import check_not_read, stage_result
from verger.storage.manifest import Manifest
from verger.storage.uri import to_local

REJECTED = "rejected.json"
_QUALITY = 92


@dataclass(frozen=True)
class AugmentOptions:
    """Options of an augmentation.

    per_photo: number of random views of each photo. size_px: width and height of a view.
    smallest: the minimum share of a photo's area that a view shows.
    """

    per_photo: int = 12
    size_px: int = 256
    smallest: float = 0.12
    seed: int = 0
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        for key, is_valid, expected in (
            ("per_photo", self.per_photo >= 1, "1 or more"),
            ("size_px", 16 <= self.size_px <= 4096, "16 to 4096"),
            ("smallest", 0 < self.smallest <= 1, "a share over 0 and at most 1"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not is_valid:
                raise SettingsError(key, getattr(self, key), expected)


@dataclass(frozen=True)
class _ListedPhoto:
    number: int
    path: str
    label: str


def write_views(
    photos: str, out: Path, options: AugmentOptions, progress: Progress, *, overwrite: bool = False
) -> Manifest:
    """Write the views of every photo to OUT/<label>/<photo>__<view>.jpg; view 0 is the whole photo.

    rejected.json lists the photos that could not be read. Raises SourceError if no photo could be read.
    """
    check_not_read(out, [photos])
    manifest = Manifest.start("augment", photos, asdict(options))
    with stage_result(out, overwrite=overwrite) as stage:
        listed = _list_photos(photos)
        manifest.counts = {"listed": len(listed), "labels": len({photo.label for photo in listed})}
        for label in {photo.label for photo in listed}:
            (stage / label).mkdir()
        progress.stage("augment", len(listed))
        with manifest.timed("augment"):
            rejected = _write_all(listed, stage, options, progress)
        if len(rejected) == len(listed):
            raise SourceError(
                f"none of the {len(listed):,} photos in {photos} can be read; first error: {rejected[0]['detail']}"
            )
        manifest.counts["views"] = (len(listed) - len(rejected)) * (options.per_photo + 1)
        manifest.counts["rejected"] = len(rejected)
        manifest.counts["rejected_by_reason"] = dict(Counter(photo["reason"] for photo in rejected).most_common())
        manifest.timings_s["total"] = manifest.timings_s["augment"]
        (stage / REJECTED).write_text(json.dumps(rejected, indent=1) + "\n", encoding="utf-8")
        manifest.write(stage)
    return manifest


def _list_photos(photos: str) -> list[_ListedPhoto]:
    with tempfile.TemporaryDirectory(prefix="verger-") as folder:
        listing = list_photo_files(photos, Selection(), Path(folder) / "listing")
        table = pq.read_table(listing.folder, columns=["path", "label"]).to_pydict()
    pairs = sorted(zip(table["path"], table["label"], strict=True))
    return [_ListedPhoto(number, path, label) for number, (path, label) in enumerate(pairs)]


def _write_all(
    listed: list[_ListedPhoto], stage: Path, options: AugmentOptions, progress: Progress
) -> list[dict[str, str]]:
    rejected: list[dict[str, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda photo: _write_one(photo, stage, options), listed)
        for n_done, (photo, error) in enumerate(zip(listed, outcomes, strict=True), 1):
            if error is not None:
                rejected.append({"path": photo.path, "reason": error.reason, "detail": error.detail})
            progress.advance(n_done, len(rejected))
    return rejected


def _write_one(photo: _ListedPhoto, stage: Path, options: AugmentOptions) -> DecodeError | None:
    try:
        pixels = decode_rgb(read_photo(photo.path, options.max_pixels), max_pixels=options.max_pixels)
    except DecodeError as error:
        return error
    size_px = (options.size_px, options.size_px)
    views = [Image.fromarray(pixels).resize(size_px)]
    rng = np.random.default_rng((options.seed, photo.number))
    views += [
        Image.fromarray(augment(pixels, options.size_px, rng, options.smallest)) for _ in range(options.per_photo)
    ]
    stem = re.sub(r"[^\w-]", "_", Path(to_local(photo.path)).stem)[:100]
    for i, view in enumerate(views):
        view.save(stage / photo.label / f"{photo.number:06d}_{stem}__{i}.jpg", quality=_QUALITY)
    return None
