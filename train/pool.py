"""A pool of augmented views and what the teacher sees in each.

The teacher (MobileNetV2 with ImageNet weights at 224 pixels, through verger's own kernel) looks at exactly
the view that the student will learn from: a consistent teacher (Beyer et al. 2022, arXiv:2106.05237). It is
five times as slow as the student, so its vectors are kept and each view is learnt from several times.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from train.photos import Photo
from train.views import TEACHER_PX, VIEW_PX, backdrop, cut_out, mixed, on_background, on_white, pile, shop_crop
from verger.featurize.catalog import NetworkSpec
from verger.featurize.network import Network, prepare_network
from verger.featurize.runtime import Extractor

RGB = npt.NDArray[np.uint8]
NO_LABEL = -1
_CHUNK = 256


@dataclass(frozen=True)
class Mixture:
    """How many views of each kind a pool holds."""

    on_white: int = 0
    on_background: int = 0
    pile: int = 0
    shop: int = 0
    shop_mixed: int = 0


@dataclass(frozen=True)
class Subjects:
    """What views are made of: fruits on white and shop photos, with the number of each one's label."""

    fruits: list[Photo]
    fruit_labels: npt.NDArray[np.int64]
    shop: list[Photo]
    shop_labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """N views (N, 128, 128, 3) uint8, teacher vectors (N, 1280) float16, labels (N,), NO_LABEL where none."""

    views: npt.NDArray[np.uint8]
    teacher: npt.NDArray[np.float16]
    fruit: npt.NDArray[np.int64]
    shop: npt.NDArray[np.int64]


def load_pool(folder: Path) -> Pool:
    """Return the pool kept in `folder`, its views read from disk as they are needed."""
    views, teacher, labels = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("views", "teacher", "labels")
    )
    return Pool(views, teacher, np.array(labels[:, 0]), np.array(labels[:, 1]))


def make_pool(folder: Path, subjects: Subjects, mixture: Mixture, seed: int) -> Pool:
    """Make, keep in `folder`, and return a pool; a pool that is there already is taken as it is."""
    if not (folder / "done.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _fill(folder, subjects, mixture, seed)
        (folder / "done.json").write_text(json.dumps({"seed": seed, **mixture.__dict__}))
    return load_pool(folder)


def _fill(folder: Path, subjects: Subjects, mixture: Mixture, seed: int) -> None:
    kinds = np.repeat(list(mixture.__dict__), list(mixture.__dict__.values()))
    np.random.default_rng(seed).shuffle(kinds)
    n = len(kinds)
    network = prepare_network(NetworkSpec(model="MobileNetV2"))
    views = np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (n, VIEW_PX, VIEW_PX, 3))
    teacher = np.lib.format.open_memmap(folder / "teacher.npy", "w+", np.float16, (n, network.n_features))
    labels = np.zeros((n, 2), np.int64)
    chunks = [(start, list(kinds[start : start + _CHUNK]), seed) for start in range(0, n, _CHUNK)]
    fork = multiprocessing.get_context("fork")  # the subjects, a gigabyte, are shared as they are
    with ProcessPoolExecutor(os.cpu_count(), fork, _start, (subjects, network)) as workers:
        for (start, _, _), (some_views, some_vectors, some_labels) in zip(
            chunks, workers.map(_chunk, chunks), strict=True
        ):
            part = slice(start, start + len(some_views))
            views[part], teacher[part], labels[part] = some_views, some_vectors, some_labels
            print(f"\rviews {part.stop:,} of {n:,}", end="", flush=True)
    print()
    np.save(folder / "labels.npy", labels)


class _Maker:
    """Makes views in one process."""

    def __init__(self, subjects: Subjects, network: Network) -> None:
        self.subjects = subjects
        self.teacher = Extractor(network)
        self.shop = [photo.pixels for photo in subjects.shop]
        labels = subjects.fruit_labels
        self.of_label = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}

    def view(self, kind: str, rng: np.random.Generator) -> tuple[RGB, int, int]:
        """Return a view, 128 or 224 pixels square, and its labels."""
        if kind.startswith("shop"):
            view, label = self._shop(rng)
            if kind == "shop_mixed":
                return mixed(view, self._shop(rng)[0], rng.uniform(0.3, 0.7)), NO_LABEL, NO_LABEL
            return view, NO_LABEL, label
        at = rng.integers(len(self.subjects.fruits))
        fruit, label = self.subjects.fruits[at], int(self.subjects.fruit_labels[at])
        if kind == "on_white":
            return on_white(fruit.pixels, rng), label, NO_LABEL
        if kind == "on_background":
            return on_background(cut_out(fruit.pixels), backdrop(rng, self.shop), rng), label, NO_LABEL
        others = rng.choice(self.of_label[label], 4)
        fruits = [cut_out(self.subjects.fruits[i].pixels) for i in others]
        return pile(fruits, backdrop(rng, self.shop), rng), label, NO_LABEL

    def _shop(self, rng: np.random.Generator) -> tuple[RGB, int]:
        at = rng.integers(len(self.shop))
        view = shop_crop(self.shop[at], rng, size_px=TEACHER_PX, smallest=0.12)
        return view, int(self.subjects.shop_labels[at])


_maker: _Maker


def _start(subjects: Subjects, network: Network) -> None:
    global _maker  # one a worker process
    _maker = _Maker(subjects, network)


def _chunk(chunk: tuple[int, list[str], int]) -> tuple[RGB, npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    start, kinds, seed = chunk
    rng = np.random.default_rng([seed, start])
    views, vectors, labels = [], [], []
    for kind in kinds:
        view, *label = _maker.view(kind, rng)
        vectors.append(_maker.teacher(_resized(view, TEACHER_PX, cv2.INTER_CUBIC)).astype(np.float16))
        views.append(_resized(view, VIEW_PX, cv2.INTER_AREA))
        labels.append(label)
    return np.stack(views), np.stack(vectors), np.array(labels, np.int64)


def _resized(view: RGB, size_px: int, interpolation: int) -> RGB:
    if view.shape[0] == size_px:
        return view
    return np.asarray(cv2.resize(view, (size_px, size_px), interpolation=interpolation), np.uint8)
