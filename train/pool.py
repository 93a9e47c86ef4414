"""A pool of augmented views, with the teacher's vector of each.

The teacher (EfficientNet-Lite2 with ImageNet weights at 260 pixels, computed with verger's own kernel) gets exactly
the view that the student is trained on: a consistent teacher (Beyer et al. 2022, arXiv:2106.05237). It is ten
times as slow as the student, so its vectors are stored and each view is used in several epochs.
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
from train.views import (
    TEACHER_PX,
    VIEW_PX,
    backdrop,
    cut_out,
    mixed,
    on_background,
    on_white,
    pile,
    scene_crop,
    wild_crop,
)
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import Network, prepare_network

RGB = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
TEACHER = "EfficientNetLite2"
_PRECISION = "bf16"  # half the time of f32; the cosine of their vectors is 0.998 or more
NO_LABEL = -1
NO_PHOTO = -1
_CHUNK = 256
# The kinds of views in a mixed view, and their probabilities.
_MIXED = ("crop", "wild", "on_background", "pile")
_MIXED_SHARES = (0.37, 0.33, 0.22, 0.08)


@dataclass(frozen=True)
class Mixture:
    """Number of views of each kind in a pool; `wild` and `mixed` ones have no label."""

    on_white: int = 0
    on_background: int = 0
    pile: int = 0
    crop: int = 0
    wild: int = 0
    mixed: int = 0


@dataclass(frozen=True)
class Scenes:
    """Photos with natural backgrounds: of shops and of Flickr.

    Of each photo: the number of its shop label, the number of its species, NO_LABEL where it has none, and its
    probability to be chosen for a view.
    """

    photos: list[Photo]
    shop_labels: Labels
    species: Labels
    shares: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subjects:
    """The source photos of views: fruits on white, with the number of each photo's label, and scenes."""

    fruits: list[Photo]
    fruit_labels: Labels
    scenes: Scenes


@dataclass(frozen=True)
class Pool:
    """N views (N, 128, 128, 3) uint8, teacher vectors (N, 1280) float16, labels (N,), NO_LABEL where none.

    `scene` is the number of the photo that a labelled crop shows; NO_PHOTO where none.
    """

    views: npt.NDArray[np.uint8]
    teacher: npt.NDArray[np.float16]
    fruit: Labels
    shop: Labels
    species: Labels
    scene: Labels


def load_pool(folder: Path) -> Pool:
    """Return the pool stored in `folder`; its views are memory-mapped."""
    views, teacher, origins = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("views", "teacher", "origins")
    )
    return Pool(views, teacher, *np.array(origins).T)


def make_pool(folder: Path, subjects: Subjects, mixture: Mixture, seed: int) -> Pool:
    """Return the pool in `folder`; make it first if the folder has none."""
    if not (folder / "done.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _fill(folder, subjects, mixture, seed)
        (folder / "done.json").write_text(json.dumps({"seed": seed, **mixture.__dict__}))
    return load_pool(folder)


def _fill(folder: Path, subjects: Subjects, mixture: Mixture, seed: int) -> None:
    kinds = np.repeat(list(mixture.__dict__), list(mixture.__dict__.values()))
    np.random.default_rng(seed).shuffle(kinds)
    n = len(kinds)
    network = prepare_network(NetworkSpec(TEACHER, precision=_PRECISION))
    views = np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (n, VIEW_PX, VIEW_PX, 3))
    teacher = np.lib.format.open_memmap(folder / "teacher.npy", "w+", np.float16, (n, network.n_features))
    origins = np.zeros((n, 4), np.int64)
    chunks = [(start, list(kinds[start : start + _CHUNK]), seed) for start in range(0, n, _CHUNK)]
    fork = multiprocessing.get_context("fork")  # shares the subjects, a gigabyte, without a copy
    with ProcessPoolExecutor(os.cpu_count(), fork, _start, (subjects, network)) as workers:
        for (start, _, _), (some_views, some_vectors, some_origins) in zip(
            chunks, workers.map(_chunk, chunks), strict=True
        ):
            part = slice(start, start + len(some_views))
            views[part], teacher[part], origins[part] = some_views, some_vectors, some_origins
            print(f"\rviews {part.stop:,} of {n:,}", end="", flush=True)
    print()
    np.save(folder / "origins.npy", origins)


@dataclass(frozen=True)
class _View:
    """A view, 128 or 260 pixels square, with its labels and the scene of a labelled crop."""

    pixels: RGB
    fruit: int = NO_LABEL
    shop: int = NO_LABEL
    species: int = NO_LABEL
    scene: int = NO_PHOTO

    @property
    def origin(self) -> tuple[int, int, int, int]:
        return self.fruit, self.shop, self.species, self.scene


class _Maker:
    """Maker of views in one process."""

    def __init__(self, subjects: Subjects, network: Network) -> None:
        self.subjects = subjects
        self.teacher = Extractor(network)
        labels = subjects.fruit_labels
        self.of_label = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.shares = np.cumsum(subjects.scenes.shares)

    def view(self, kind: str, rng: np.random.Generator) -> _View:
        if kind == "mixed":
            return self._mixed(rng)
        if kind in ("crop", "wild"):
            return self._scene(kind, rng)
        return self._fruit(kind, rng)

    def _mixed(self, rng: np.random.Generator) -> _View:
        one, other = (self.view(str(kind), rng).pixels for kind in rng.choice(_MIXED, 2, p=_MIXED_SHARES))
        size_px = max(one.shape[0], other.shape[0])
        sides = [_resized(pixels, size_px, cv2.INTER_CUBIC) for pixels in (one, other)]
        return _View(mixed(sides[0], sides[1], rng))

    def _scene(self, kind: str, rng: np.random.Generator) -> _View:
        scenes, at = self.subjects.scenes, self._draw_scene(rng)
        pixels = scenes.photos[at].pixels
        if kind == "wild":
            return _View(wild_crop(pixels, rng, size_px=TEACHER_PX, smallest=0.04))
        view = scene_crop(pixels, rng, size_px=TEACHER_PX, smallest=0.12)
        return _View(view, shop=int(scenes.shop_labels[at]), species=int(scenes.species[at]), scene=at)

    def _draw_scene(self, rng: np.random.Generator) -> int:
        return int(np.searchsorted(self.shares, rng.random() * self.shares[-1]))

    def _fruit(self, kind: str, rng: np.random.Generator) -> _View:
        at = int(rng.integers(len(self.subjects.fruits)))
        fruit, label = self.subjects.fruits[at], int(self.subjects.fruit_labels[at])
        if kind == "on_white":
            return _View(on_white(fruit.pixels, rng), fruit=label)
        background = self._background(rng)
        if kind == "on_background":
            return _View(on_background(cut_out(fruit.pixels), background, rng), fruit=label)
        others = rng.choice(self.of_label[label], 4)
        fruits = [cut_out(self.subjects.fruits[i].pixels) for i in others]
        return _View(pile(fruits, background, rng), fruit=label)

    def _background(self, rng: np.random.Generator) -> RGB:
        if rng.random() < 0.5:
            return backdrop(rng)
        return backdrop(rng, self.subjects.scenes.photos[self._draw_scene(rng)].pixels)


_maker: _Maker


def _start(subjects: Subjects, network: Network) -> None:
    global _maker  # one per worker process
    _maker = _Maker(subjects, network)


def _chunk(chunk: tuple[int, list[str], int]) -> tuple[RGB, npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    start, kinds, seed = chunk
    rng = np.random.default_rng([seed, start])
    views = [_maker.view(kind, rng) for kind in kinds]
    vectors = [_maker.teacher(_resized(view.pixels, TEACHER_PX, cv2.INTER_CUBIC)) for view in views]
    return (
        np.stack([_resized(view.pixels, VIEW_PX, cv2.INTER_AREA) for view in views]),
        np.stack(vectors).astype(np.float16),
        np.array([view.origin for view in views], np.int64),
    )


def _resized(view: RGB, size_px: int, interpolation: int) -> RGB:
    if view.shape[0] == size_px:
        return view
    return np.asarray(cv2.resize(view, (size_px, size_px), interpolation=interpolation), np.uint8)
